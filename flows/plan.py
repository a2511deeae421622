"""A flow compiled for running: nodes by number, references as places, so that a line does nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.flow import MISSING, Flow, Node
from flows.references import Reference, follow
from flows.steps import Kit, Step, make

INPUT = -1  # the source of a flow input


class Skipped:
    """The type of SKIPPED, the output of a node that did not run."""

    def __repr__(self) -> str:
        return "SKIPPED"


SKIPPED = Skipped()

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Place:
    """Where a value is found while a line runs: `source` is a node's number or INPUT, or `constant` is the value."""

    source: int
    path: Path = ()
    constant: Any = None

    def value(self, inputs: Mapping[str, Any], outputs: list[Any]) -> Any:
        """Return the value; raises LookupError or AttributeError where the path leads nowhere."""
        if self.source >= 0:
            found = outputs[self.source]
            return follow(found, self.path) if self.path else found
        if self.source == INPUT:
            return follow(inputs, self.path)
        return self.constant


CONSTANT = -2
_HOLDERS = frozenset({"image", "list", "object", "dict"})  # types whose values may hold images


@dataclass(slots=True)
class Job:
    """One node, ready to be run many times.

    `quick` is above 0 where it lately took next to no time, below where it did not, and 0 while that is not known.
    `streams` is whether its pieces may leave the flow as they come: only an output uses it.
    """

    index: int
    node: Node
    step: Step
    arguments: tuple[tuple[str, int, Path], ...]  # name, source, path
    items: tuple[tuple[str, Path], ...]  # what comes from the item of a map
    sources: frozenset[int]  # nodes that must have ended
    inputs_from: frozenset[int]  # nodes that its inputs (not its activation) come from
    users: tuple[int, ...] = ()
    when: Place | None = None
    otherwise: Place | None = None
    over: Place | None = None
    quick: int = 0
    streams: bool = False
    runs_beside: bool = False  # never called by the leading thread

    def is_bypassed(self, inputs: Mapping[str, Any], outputs: list[Any]) -> bool:
        """Whether the node does not run for this line."""
        activate = self.node.activate
        if activate is None or self.when is None:
            return bool(self.inputs_from) and all(outputs[source] is SKIPPED for source in self.inputs_from)
        if self.when.source >= 0 and outputs[self.when.source] is SKIPPED:
            return True
        return bool(self.when.value(inputs, outputs) != activate.value)

    def values(self, inputs: Mapping[str, Any], outputs: list[Any]) -> dict[str, Any]:
        """Return the arguments of the node for this line."""
        found = dict(self.step.constants)
        for name, source, path in self.arguments:
            if source == INPUT:
                found[name] = inputs[path[0]] if len(path) == 1 else follow(inputs, path)  # type: ignore[index]
                continue
            value = outputs[source]
            if value is SKIPPED:
                if name in self.step.defaults:
                    continue
                value = None
            elif path:
                value = follow(value, path)
            found[name] = value
        return found

    def item_values(self, item: Any) -> dict[str, Any]:
        """Return the arguments that come from one item of a `map`."""
        return {name: follow(item, path) for name, path in self.items}


@dataclass(slots=True)
class Plan:
    """A flow compiled: its jobs in an order in which they can run, and where its outputs come from."""

    flow: Flow
    kit: Kit
    jobs: list[Job]
    outputs: dict[str, Place] = field(default_factory=dict)
    sources: tuple[int, ...] = ()  # jobs that wait for nothing
    may_load: bool = False  # whether inputs may name images

    @property
    def waits(self) -> list[int]:
        """Return how many nodes each node waits for."""
        return [len(job.sources) for job in self.jobs]


def compile_lines(kit: Kit) -> Plan:
    """Compile what runs once per line: all nodes but the aggregation. Raises what the flow's code raises."""
    flow = kit.flow
    return _compile(kit, [node for node in flow.nodes if not node.aggregation], outputs=True)


def compile_aggregation(kit: Kit, given: Iterable[str]) -> Plan:
    """Compile the aggregation nodes; `given` are the nodes whose outputs, as lists, come from the lines."""
    flow = kit.flow
    nodes = [node for node in flow.nodes if node.aggregation]
    return _compile(kit, nodes, outputs=False, given=tuple(given))


def _compile(kit: Kit, nodes: list[Node], *, outputs: bool, given: tuple[str, ...] = ()) -> Plan:
    # What is given stands before the nodes: places without a job, filled before the line starts.
    numbers = {name: number for number, name in enumerate([*(node.name for node in nodes), *given])}
    jobs = [_job(kit, node, numbers, count=len(nodes)) for node in nodes]
    for job in jobs:
        job.users = tuple(other.index for other in jobs if job.index in other.sources)
    plan = Plan(kit.flow, kit, jobs)
    plan.sources = tuple(job.index for job in jobs if not job.sources)
    plan.may_load = any(declared.type in _HOLDERS for declared in kit.flow.inputs.values())
    if outputs:
        for name, output in kit.flow.outputs.items():
            if not isinstance(output.value, Reference) or output.value.is_input or output.value.source in numbers:
                plan.outputs[name] = place = _place(output.value, numbers)
                if place.source >= 0 and not place.path and not jobs[place.source].users:
                    jobs[place.source].streams = True
    return plan


def _job(kit: Kit, node: Node, numbers: Mapping[str, int], *, count: int) -> Job:
    step = _pinned(node) if node.pin is not MISSING else make(node, kit)
    arguments: list[tuple[str, int, Path]] = []
    items: list[tuple[str, Path]] = []
    for name, value in node.inputs.items():
        if not isinstance(value, Reference):
            continue
        if step.accepts is not None and name not in step.accepts:
            continue
        if node.is_item(value):
            items.append((name, value.path))
        elif value.is_input:
            arguments.append((name, INPUT, value.path))
        else:
            arguments.append((name, numbers[value.source], value.path))
    if step.accepts is not None:
        step.constants = {name: value for name, value in step.constants.items() if name in step.accepts}
    sources = {numbers[each.source] for each in node.references() if not each.is_input}
    activate = node.activate
    return Job(
        index=numbers[node.name],
        node=node,
        step=step,
        arguments=tuple(arguments),
        items=tuple(items),
        sources=frozenset(source for source in sources if source < count),
        inputs_from=frozenset(
            numbers[each.source]
            for each in [*node.inputs.values(), *([node.each.over] if node.each else [])]
            if isinstance(each, Reference) and not each.is_input and not node.is_item(each)
        ),
        when=_place(activate.when, numbers) if activate else None,
        otherwise=_place(activate.otherwise, numbers) if activate and activate.otherwise is not MISSING else None,
        over=_place(node.each.over, numbers) if node.each else None,
        runs_beside=step.is_async or node.timeout is not None,
    )


def _place(value: Any, numbers: Mapping[str, int]) -> Place:
    if not isinstance(value, Reference):
        return Place(CONSTANT, constant=value)
    return Place(INPUT if value.is_input else numbers[value.source], value.path)


def _pinned(node: Node) -> Step:
    return Step(node=node, call=lambda **_values: node.pin)
