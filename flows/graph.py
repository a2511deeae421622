"""Reading a flow of any format, and the order in which its nodes can run, checked once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

from flows import dag
from flows.flow import Flow, Node, Output
from flows.references import Reference
from workspace.errors import Invalid, NotFound, StudioloError, did_you_mean

FLEX_FILES = ("flow.flex.yaml", "flow.flex.yml")
FILES = (*dag.FILES, *FLEX_FILES)
_IS_FLEX = re.compile(r"^entry\s*:", re.MULTILINE)


def load(path: Path | str, *, variant: str | None = None) -> Flow:
    """Read a flow folder or file, check it whole, and put its nodes in an order in which they can run.

    `variant` as "node.variant" replaces one node's default. Raises Invalid with `file:line:column`.
    """
    flow = read(Path(path), variant=variant)
    for problem in problems(flow):
        raise problem
    needs = _needs(flow)
    by_name = {node.name: node for node in flow.nodes}
    return replace(flow, nodes=tuple(by_name[name] for name in TopologicalSorter(needs).static_order()))


def read(path: Path, *, variant: str | None = None) -> Flow:
    """Read a flow of any format; its graph is not checked yet."""
    file = find_file(path)
    kind = format_of(file)
    if kind == "prompty":
        from flows import prompty

        return _without_variant(prompty.read(file), variant)
    if kind == "flex":
        from flows import flex

        return _without_variant(flex.read(file), variant)
    return dag.read(file, variant=variant)


def format_of(file: Path) -> Literal["dag", "flex", "prompty"]:
    """Return which format a flow file has."""
    if file.suffix == ".prompty":
        return "prompty"
    if file.name in FLEX_FILES or _IS_FLEX.search(file.read_text(encoding="utf-8", errors="replace")):
        return "flex"
    return "dag"


def find_file(path: Path) -> Path:
    """Return the flow file that a file or folder means. NotFound where there is none, Invalid where there are two."""
    if path.is_file():
        if path.suffix not in (".yaml", ".yml", ".prompty"):
            raise Invalid(f"{path.name!r} is no flow", hint="a flow is a .yaml, .yml or .prompty file, or a folder")
        return path
    found = [path / name for name in FILES if (path / name).is_file()]
    if not found:
        found = sorted(path.glob("*.prompty"))
    if not found:
        raise NotFound(f"no flow in {str(path)!r}", hint=f"a flow folder holds {' or '.join(FILES[::2])}")
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise Invalid(f"{str(path)!r} holds {names}", hint="keep one of them, or name the file")
    return found[0]


def problems(flow: Flow) -> Iterator[StudioloError]:
    """Yield everything that is wrong with the graph: names that lead nowhere, circles, aggregation inside a line."""
    nodes = {node.name: node for node in flow.nodes}
    users: list[tuple[Node | Output, Reference]] = [(node, each) for node in flow.nodes for each in node.references()]
    users += [(output, output.value) for output in flow.outputs.values() if isinstance(output.value, Reference)]
    lost = False
    for user, reference in users:
        if problem := _wrong(flow, nodes, user, reference):
            lost = lost or "does not exist" in problem.message
            yield problem
    if not lost:
        yield from _circles(flow, nodes)


def _circles(flow: Flow, nodes: dict[str, Node]) -> Iterator[Invalid]:
    try:
        TopologicalSorter(_needs(flow)).prepare()
    except CycleError as error:
        circle = [*reversed(error.args[1])]
        yield Invalid(f"nodes go round in a circle: {' → '.join(circle)}", at=nodes[circle[0]].at)


def _needs(flow: Flow) -> dict[str, set[str]]:
    return {node.name: {each.source for each in node.references() if not each.is_input} for node in flow.nodes}


def _wrong(flow: Flow, nodes: dict[str, Node], user: Node | Output, reference: Reference) -> Invalid | None:
    who = f"{type(user).__name__.lower()} {user.name!r}"
    if reference.is_input:
        name = str(reference.path[0])
        if name not in flow.inputs:
            hint = did_you_mean(name, flow.inputs)
            return Invalid(f"{who} uses the input {name!r}, which is not declared", hint=hint, at=user.at)
    elif reference.source not in nodes:
        hint = did_you_mean(reference.source, nodes)
        return Invalid(f"{who} uses the node {reference.source!r}, which does not exist", hint=hint, at=user.at)
    elif isinstance(user, Node):
        source = nodes[reference.source]
        if source.aggregation and not user.aggregation:
            return Invalid(
                f"{who} uses the aggregation node {reference.source!r}, which runs after all lines",
                hint=f"make {user.name!r} an aggregation node too",
                at=user.at,
            )
        if user.aggregation and not source.aggregation and user.activate and user.activate.when == reference:
            return Invalid(
                f"aggregation node {user.name!r} cannot be activated by {reference.source!r}, which has many outputs",
                hint="decide inside the node",
                at=user.at,
            )
    return None


def _without_variant(flow: Flow, variant: str | None) -> Flow:
    if variant:
        raise Invalid(f"{flow.file.name} has no variants", hint="leave --variant out")
    return flow
