"""Options that take several values in a row, as people who know `pf` write them: `--inputs a=1 b=2`."""

from __future__ import annotations

from collections.abc import Collection

from workspace.errors import Invalid

SEVERAL = frozenset(
    {
        "--inputs",
        "--column-mapping",
        "--environment-variables",
        "--init",
        "--set",
        "--add",
        "--remove",
        "--connections",
        "--tags",
        "--pin",
    }
)


def spread(arguments: list[str], options: Collection[str] = SEVERAL) -> list[str]:
    """Repeat such an option before each of its values.

    >>> spread(["run", "--column-mapping", "a=${data.x}", "b=${data.y}", "--stream"])
    ['run', '--column-mapping', 'a=${data.x}', '--column-mapping', 'b=${data.y}', '--stream']
    """
    done: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in options else None
        elif option is not None and done[-1] != option:
            done.append(option)
        done.append(argument)
    return done


def pairs(given: list[str] | None, *, example: str = "question='${data.question}'") -> dict[str, str]:
    """Return `name=value` texts as a mapping; raises Invalid for one that is none."""
    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Invalid(f"{text!r} is no name=value", hint=f"for example {example}")
        found[name] = value
    return found
