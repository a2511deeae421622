"""Changing what is kept key by key, as people know it from `az`: `--set a.b=c`, `--add tags x=1`, `--remove a.b`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jobs.files.overrides import Override

Set = Annotated[list[str] | None, typer.Option("--set", help="key.key=value, as in the file; again for more.")]
Add = Annotated[list[str] | None, typer.Option("--add", help="key.key=value, or key key=value: put it in.")]
Remove = Annotated[list[str] | None, typer.Option("--remove", help="key.key: take it out.")]


def sets(set_: list[str] | None, add: list[str] | None = None) -> tuple[Override, ...]:
    """Return what is to be put where: `sets(["a.b=1"], ["tags", "x=y"]) == (("a.b", 1), ("tags.x", "y"))`."""
    from jobs.files.overrides import parse

    found, under = [parse(each) for each in set_ or []], ""
    for text in add or []:
        if "=" not in text:
            under = f"{text}."
        else:
            found.append(parse(text if "." in text.partition("=")[0] else f"{under}{text}"))
    return tuple(found)


def removals(remove: list[str] | None) -> tuple[str, ...]:
    """Return what is to be taken out; `tags` and `x`, which come as two words, are `tags.x`."""
    found: list[str] = []
    for text in remove or []:
        if found and "." not in text and "." not in found[-1]:
            found[-1] = f"{found[-1]}.{text}"
        else:
            found.append(text)
    return tuple(found)
