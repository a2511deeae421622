"""The words of Azure's command line: what is a command, what is an option, what has another name or no meaning here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workspace.errors import Invalid

# Options of every command that name what there is one of here, with a value and without.
GLOBAL_VALUES = frozenset(
    {"--resource-group", "-g", "--workspace-name", "-w", "--subscription", "--registry-name", "--location"}
)
GLOBAL = frozenset({"--debug", "--verbose", "--only-show-errors", "--no-prompt", "--help", "-h"})
# Options of some commands that have no effect here.
IGNORED = frozenset({
    "--no-wait", "--yes", "-y", "--local", "--vscode-debug", "--skip-script-validation", "--with-package",
    "--package-model", "--enable-node-public-ip", "--no-enable-node-public-ip", "--ssh-public-access-enabled",
    "--persistent",
})  # fmt: skip
IGNORED_VALUES = frozenset({
    "--container", "-c", "--local-enable-gpu", "--tenant-id", "--vnet-name", "--subnet", "--identity-type",
    "--admin-username", "--admin-password", "--user-assigned-identities", "--workspace-id", "--engine",
    "--experiment-name", "--archive-only", "--resource-id", "--namespace",
})  # fmt: skip

_CLOUD = "it is about machines of a cloud; here jobs run on this machine, or on Ray by `compute: ray`"
# Their verbs by group; an error where there is no counterpart.
VERBS: Mapping[tuple[str, str], str | Invalid] = {
    ("online-endpoint", "get-credentials"): "keys",
    ("online-endpoint", "regenerate-keys"): "keys",
    ("online-deployment", "get-logs"): "logs",
    ("model", "package"): Invalid(
        "models are served as they are, and not packaged into images",
        hint="studiolo deployment create -f FILE; for an image: mlflow models build-docker",
    ),
    ("job", "connect-ssh"): Invalid("a job runs on this machine: there is nothing to connect to", hint="open a shell"),
    **{
        ("compute", verb): Invalid(f"`az ml compute {verb}` has no counterpart", hint=_CLOUD)
        for verb in ("attach", "detach", "connect-ssh", "enable-sso", "list-sizes", "list-usage", "list-nodes")
    },
    **{("compute", verb): "show" for verb in ("start", "stop", "restart", "resize")},  # it is always there
}
# Options of every command that some of ours do not ignore.
MEANT: Mapping[str, str] = {"share": "--registry-name"}
RENAMED: Mapping[tuple[str, str], dict[str, str]] = {
    ("online-endpoint", "regenerate-keys"): {"--key-type": "--regenerate"},
    ("online-deployment", "get-logs"): {"-l": "--lines"},
    ("batch-endpoint", "invoke"): {"--deployment": "--deployment-name", "-d": "--deployment-name"},
}


@dataclass(frozen=True, slots=True)
class Words:
    """A command line of theirs: the words that name the command, the rest, and the options that all commands have."""

    path: tuple[str, ...]
    rest: tuple[str, ...]
    globals: Mapping[str, str]
    has_output: bool

    @property
    def asks_help(self) -> bool:
        """Whether the command is to be explained, not run."""
        return not self.globals.keys().isdisjoint(("--help", "-h"))


def parted(arguments: list[str]) -> Words:
    """Read a command line: `parted(["ml", "job", "list", "-g", "mine"]).globals == {"-g": "mine"}`."""
    depth = 3 if arguments[:1] == ["ml"] else 2
    path: list[str] = []
    rest: list[str] = []
    taken: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option in GLOBAL_VALUES:
            taken[option] = value if equals else next(words, "")
        elif option in GLOBAL:
            taken[option] = ""
        elif not rest and not word.startswith("-") and len(path) < depth:
            path.append(word)
        else:
            rest.append(word)
    has_output = any(word in ("-o", "--output") or word.startswith(("--output=", "-o=")) for word in rest)
    return Words(tuple(path), tuple(rest), taken, has_output)
