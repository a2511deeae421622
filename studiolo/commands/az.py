"""`studiolo az`: command lines that were written for `az ml`, word for word, on this workspace."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

import typer

from studiolo.commands import az_quiet
from studiolo.commands.az_words import IGNORED, IGNORED_VALUES, MEANT, RENAMED, VERBS, Words, parted
from workspace.errors import Invalid, did_you_mean

# Their group, and ours.
GROUPS = {
    "job": "job", "component": "component", "data": "data", "environment": "environment", "model": "model",
    "compute": "compute", "datastore": "datastore", "connection": "connection", "registry": "registry",
    "schedule": "schedule", "online-endpoint": "endpoint", "online-deployment": "deployment",
    "batch-endpoint": "batch-endpoint", "batch-deployment": "batch-deployment",
}  # fmt: skip


def az(ctx: typer.Context) -> None:
    """Take command lines written for Azure's: az ml GROUP VERB …, account, group, configure, extension.

    What has no meaning on this machine is taken and does nothing: resource groups, subscriptions, log-ins.
    """
    main(ctx.args)


# What follows is theirs to read, their --help too.
az.context_settings = {  # type: ignore[attr-defined]
    "allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": [],
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run one of their command lines; it ends as ours do."""
    words = parted(arguments)
    if words.path[:1] != ("ml",) or words.path[1:2] in ((), ("workspace",)):
        az_quiet.answer(words)
    else:
        _run(translated(words))


def translated(words: Words) -> list[str]:
    """Return the command line of ours that does the same.

    >>> translated(parted(["ml", "job", "show", "-n", "x", "-g", "mine", "--query", "status", "-o", "tsv"]))
    ['job', 'show', '-n', 'x', '--query', 'status', '-o', 'tsv']
    """
    group, verb = _named(words)
    ours = VERBS.get((group, verb), verb)
    if isinstance(ours, Invalid):
        raise ours
    command = _command(GROUPS[group], ours)
    if words.asks_help:
        return [GROUPS[group], ours, "--help"]
    known = [option for parameter in command.params for option in parameter.opts]
    line = [GROUPS[group], ours, *_options(words.rest, known, RENAMED.get((group, verb), {}))]
    if (meant := MEANT.get(verb, "")) in words.globals:
        line += [meant, words.globals[meant]]
    return line if words.has_output or "-o" not in known else [*line, "-o", "json"]


def _named(words: Words) -> tuple[str, str]:
    if len(words.path) < 3:
        known = ", ".join(GROUPS)
        raise Invalid(f"`az {' '.join(words.path)}` names no command", hint=f"az ml GROUP VERB; groups: {known}")
    group, verb = words.path[1:3]
    if group not in GROUPS:
        hint = did_you_mean(group, GROUPS) or "what there is: `studiolo --help`"
        raise Invalid(f"`az ml {group}` has no counterpart on this machine", hint=hint)
    return group, verb


def _command(group: str, verb: str) -> Any:
    from studiolo.cli import command_of

    found = command_of(group, verb)
    if found is None:
        raise Invalid(f"`az ml {group} {verb}` has no counterpart on this machine", hint=f"studiolo {group} --help")
    return found


def _options(rest: tuple[str, ...], known: Collection[str], renamed: dict[str, str]) -> list[str]:
    """Return their options as ours: by the same name, by another, by their first letters; or none."""
    found: list[str] = []
    words = iter(rest)
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        ours = renamed.get(option) or _completed(option, known)
        if ours in known or not option.startswith("-"):
            found.append(f"{ours}{equals}{value}")
        elif option in IGNORED_VALUES:
            _ = value or next(words, "")
        elif option not in IGNORED:
            found.append(word)
    return found


def _completed(option: str, known: Collection[str]) -> str:
    """Return the option that this is the beginning of, where it is that of one alone, as `az` takes them."""
    if not option.startswith("--") or option in known or option in IGNORED or option in IGNORED_VALUES:
        return option
    longer = [each for each in known if each.startswith(option)]
    return longer[0] if len(longer) == 1 else option


def _run(line: list[str]) -> None:
    from studiolo.cli import run

    sys.stdout.flush()
    run(line)
