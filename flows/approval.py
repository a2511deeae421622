"""Approval nodes: the line waits there until a person has decided, and goes on with what they said."""

from __future__ import annotations

from typing import Any, NoReturn

from flows.flow import Node
from flows.references import Reference
from flows.steps import Kit, Step, Waits


def make(node: Node, kit: Kit) -> Step:
    """Make an approval node ready: its inputs are what the person is shown."""
    del kit
    constants = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    return Step(node=node, call=_ask, constants=constants)


def _ask(**_shown: Any) -> NoReturn:
    raise Waits("a person must decide")
