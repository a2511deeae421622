"""Which steps wait for which: by their wires, by what decides over them, by what a pipeline wants first and last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.expressions import Binding, bindings
from jobs.files.pipeline import Settings

_OTHERS = ("component", "trial", "command", "task")  # what is in them speaks of other things


@dataclass(frozen=True, slots=True)
class Side:
    """A step runs only where a decision falls on its side."""

    decision: str
    when: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What each step waits for. Bodies of loops are no steps of their own: their loop runs them."""

    waits: Mapping[str, frozenset[str]]
    bodies: Mapping[str, str] = field(default_factory=dict)  # from a body to its loop
    sides: Mapping[str, Side] = field(default_factory=dict)
    last: str | None = None  # runs at the end, whatever has become of the others


def order_of(steps: Mapping[str, Any], settings: Settings) -> Order:
    """Return what the steps of a pipeline wait for."""
    bodies = {body_of(step): key for key, step in steps.items() if isinstance(step, DoWhile | ParallelFor)}
    sides = dict(_sides(steps))
    waits = {}
    for key, step in steps.items():
        if key in bodies:
            continue
        wires = {*_wires(step), *(_wires(steps[body_of(step)]) if isinstance(step, DoWhile | ParallelFor) else ())}
        if key in sides:
            wires.add(sides[key].decision)
        found = {bodies.get(each, each) for each in wires} - {key}
        if settings.on_init and key != settings.on_init:
            found.add(settings.on_init)
        waits[key] = found & set(steps)
    if settings.on_finalize:
        waits[settings.on_finalize] = set(waits) - {settings.on_finalize}
    frozen = {key: frozenset(found) for key, found in waits.items()}
    return Order(waits=frozen, bodies=bodies, sides=sides, last=settings.on_finalize)


def needed(key: str, order: Order) -> list[str]:
    """Return the steps that must have run before one, the nearest last."""
    found: dict[str, None] = {}

    def gather(name: str) -> None:
        for each in sorted(order.waits.get(order.bodies.get(name, name), ())):
            if each not in found:
                gather(each)
                found[each] = None

    gather(key)
    return list(found)


def body_of(loop: DoWhile | ParallelFor) -> str:
    """Return the step that a loop runs again and again."""
    return str(bindings(loop.body)[0].node)


def _sides(steps: Mapping[str, Any]) -> Iterator[tuple[str, Side]]:
    for key, step in steps.items():
        if isinstance(step, IfElse):
            for when, block in ((True, step.true_block), (False, step.false_block)):
                for written in block:
                    for found in bindings(written):
                        yield str(found.node), Side(key, when)


def _wires(step: Any) -> set[str]:
    written = step.origin.written
    apart = (*_OTHERS, *(("body", "true_block", "false_block", "condition", "mapping") if _is_flow(step) else ()))
    found = {wire.node for key, value in written.items() if key not in apart for wire in _bindings(value) if wire.node}
    if isinstance(step, IfElse):
        found |= {wire.node for wire in bindings(step.condition) if wire.node}
    return {str(each) for each in found}


def _is_flow(step: Any) -> bool:
    return isinstance(step, IfElse | DoWhile | ParallelFor)


def _bindings(value: Any) -> Iterator[Binding]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _bindings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _bindings(each)
    else:
        yield from bindings(value)
