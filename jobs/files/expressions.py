"""Expressions in files: `${{inputs.x}}` stands for a value, `$[[ --x ${{inputs.x}} ]]` for what may be absent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EXPRESSION = re.compile(r"\$\{\{\s*(\S*?)\s*\}\}")
_WHOLE = re.compile(r"\s*\$\{\{\s*([^\s{}]*)\s*\}\}\s*")
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_PARENT = re.compile(r"parent\.(?:(inputs|outputs)\.(\S+)|jobs\.([^.\s]+)(?:\.(inputs|outputs)\.(\S+))?)")

Side = Literal["inputs", "outputs"]


@dataclass(frozen=True, slots=True)
class Binding:
    """What an expression inside a pipeline points to: a port of the pipeline, or of the node `node`.

    Without `name` it is the node itself, as `body` and the blocks of control flow name it.
    """

    side: Side
    name: str
    node: str | None = None

    def __str__(self) -> str:
        owner = "parent" if self.node is None else f"parent.jobs.{self.node}"
        return f"${{{{{owner}.{self.side}.{self.name}}}}}" if self.name else f"${{{{{owner}}}}}"


def used(text: str) -> list[str]:
    """Return the names that a text uses, in order: `used("cat ${{ inputs.x }}") == ["inputs.x"]`."""
    return EXPRESSION.findall(text)


def is_expression(value: object) -> bool:
    """Return whether a value is one expression and nothing else."""
    return isinstance(value, str) and _WHOLE.fullmatch(value) is not None


def binding(name: str) -> Binding | None:
    """Return what a name inside a pipeline points to, or None: `binding("parent.jobs.train.outputs.model")`."""
    found = _PARENT.fullmatch(name)
    if found is None:
        return None
    side, own, node, of_node, port = found.groups()
    is_input = (side or of_node) == "inputs"
    return Binding("inputs" if is_input else "outputs", own or port or "", node)


def bindings(value: object) -> list[Binding]:
    """Return what a value of a node's inputs or outputs is bound to."""
    if not isinstance(value, str):
        return []
    return [found for name in used(value) if (found := binding(name))]


def optional_names(text: str) -> set[str]:
    """Return the names that stand in optional blocks only."""
    outside = set(used(OPTIONAL.sub(lambda block: "" if used(block[1]) else block[0], text)))
    return set(used(text)) - outside


def resolve(text: str, values: Mapping[str, Any]) -> str:
    """Fill in a command or arguments; a name that has no value takes its optional block with it.

    >>> resolve("train $[[ --rate ${{inputs.rate}} ]] --on ${{inputs.device}}", {"inputs.device": "cpu"})
    'train  --on cpu'
    """
    kept = OPTIONAL.sub(lambda block: _kept(block, values), text)
    return EXPRESSION.sub(lambda name: render(values[name[1]]), kept)


def fill(value: Any, find: Callable[[str], Any]) -> Any:
    """Fill in a value of a file. A whole-text expression keeps the type of what it stands for.

    `find` gives a name's value, or raises LookupError to let the expression stand.
    """
    if isinstance(value, Mapping):
        return {key: fill(each, find) for key, each in value.items()}
    if isinstance(value, list):
        return [fill(each, find) for each in value]
    if not isinstance(value, str):
        return value
    try:
        if whole := _WHOLE.fullmatch(value):
            return find(whole[1])
    except LookupError:
        return value
    return EXPRESSION.sub(lambda name: _filled(name, find), value)


def render(value: Any) -> str:
    """Return a value as Azure's tools write it into a command: `True`, `0.01`."""
    return "" if value is None else str(value)


def _kept(block: re.Match[str], values: Mapping[str, Any]) -> str:
    names = used(block[1])
    if not names:
        return block[0]  # `$[[inputs.x]]` is no expression; published files have it, and it stays as it is
    return block[1] if all(values.get(name) is not None for name in names) else ""


def _filled(name: re.Match[str], find: Callable[[str], Any]) -> str:
    try:
        return render(find(name[1]))
    except LookupError:
        return name[0]
