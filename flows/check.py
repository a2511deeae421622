"""Everything that is wrong with a flow, at once, with its lines: nothing of the flow runs to find out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from flows import check_nodes, dag, graph, includes
from flows.flow import Flow, Input, Node, Output
from flows.references import Reference
from workspace.documents import Document, Step, read_yaml
from workspace.errors import Invalid, Location, StudioloError, did_you_mean

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. A warning does not stop the flow from running."""

    message: str
    hint: str | None = None
    at: Location | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Return `file:line:column: error: message`."""
        return f"{self.at}: {self.severity}: {self.message}" if self.at else f"{self.severity}: {self.message}"


def problems(path: Path | str, *, variant: str | None = None) -> list[Problem]:
    """Return all that is wrong with a flow of any format, in the order of its lines; every variant is looked at.

    With `variant` only that one is. Never raises for what the files say.
    """
    try:
        file = graph.find_file(Path(path))
        kind = graph.format_of(file)
    except StudioloError as error:
        return [_problem(error)]
    found = [*_of(file, variant, kind)]
    if kind == "dag" and variant is None:
        for each in _variants(file):
            found += _of(file, each, kind)
    unique = {(each.message, str(each.at)): each for each in reversed(found)}
    return sorted(
        unique.values(),
        key=lambda each: (str(each.at.path) if each.at else "", _line(each), each.severity, each.message),
    )


def _of(file: Path, variant: str | None, kind: str) -> Iterator[Problem]:
    try:
        flow = graph.read(file, variant=variant)
        broken: frozenset[str] = frozenset()
    except StudioloError as error:
        if kind != "dag":
            yield _problem(error)
            return
        pieces = _Pieces(error)
        flow, broken = pieces.read(file, variant)
        yield from map(_problem, pieces.errors)
    yield from map(_problem, graph.problems(flow))
    for node in flow.nodes:
        if node.name not in broken:
            yield from (Problem(*each) for each in check_nodes.problems(flow, node))
    if kind == "dag":
        yield from _warnings(flow, broken)


class _Pieces:
    """A flow read piece by piece, for one that cannot be read as a whole: what is wrong is kept, and the rest read."""

    def __init__(self, first: StudioloError) -> None:
        self.errors: list[StudioloError] = []
        self._first = first

    def read(self, file: Path, variant: str | None) -> tuple[Flow, frozenset[str]]:
        """Return what could be read, with names that stand for what could not be; those names are broken."""
        empty = Flow(name=file.parent.name, folder=file.resolve().parent, file=file)
        try:
            document = read_yaml(file)
        except StudioloError as error:
            self.errors.append(error)
            return empty, frozenset()
        if not isinstance(document.root, dict):
            self.errors.append(self._first)
            return empty, frozenset()
        self._refuse(document, dag.FLOW_KEYS)
        included = self._try(includes.resolve, document) or ()
        inputs = {name: self._try(dag.read_input, document, "inputs", name) for name in self._names(document, "inputs")}
        outputs = [self._try(dag.read_output, document, name) for name in self._names(document, "outputs")]
        nodes = self._nodes(document, included, variant)
        if not self.errors:
            self.errors.append(self._first)
        broken = {name for name, node in nodes.items() if node is None}
        return (
            replace(
                empty,
                inputs={name: each or Input(name=name, type="object") for name, each in inputs.items()},
                outputs={each.name: each for each in outputs if each},
                nodes=tuple(each or self._stand_in(document, name) for name, each in nodes.items()),
                additional_includes=included,
            ),
            frozenset(broken),
        )

    def _nodes(self, document: Document, included: tuple[Path, ...], variant: str | None) -> dict[str, Node | None]:
        listed = document.get("nodes")
        if not isinstance(listed, list) or not listed:
            self.errors.append(Invalid("a flow needs `nodes`, a list", at=document.at("nodes")))
            return {}
        wanted, _, choice = (variant or "").strip("${}").partition(".")
        found: dict[str, Node | None] = {}
        for index, given in enumerate(listed):
            name = given.get("name") if isinstance(given, dict) else None
            self._refuse(document, dag.NODE_KEYS, "nodes", index)
            if not isinstance(name, str) or not name:
                self.errors.append(Invalid("a node needs `name`", at=document.at("nodes", index)))
            elif name in found:
                self.errors.append(Invalid(f"two nodes are named {name!r}", at=document.at("nodes", index, "name")))
            else:
                found[name] = self._try(dag.read_node, document, included, index, choice if name == wanted else None)
        return found

    def _stand_in(self, document: Document, name: str) -> Node:
        """Return a node that cannot be read with what goes into it, so that its references are looked at."""
        index = next(
            index
            for index, each in enumerate(document.get("nodes"))
            if isinstance(each, dict) and each.get("name") == name
        )
        return Node(name=name, type="python", inputs=self._try(dag.read_node_inputs, document, "nodes", index) or {})

    def _refuse(self, document: Document, known: Iterable[str], *steps: Step) -> None:
        given = document.get(*steps)
        if not isinstance(given, dict):
            self._try(document.refuse_unknown, known, *steps)
            return
        for key in given:
            if key not in known:
                hint = did_you_mean(str(key), known)
                self.errors.append(Invalid(f"unknown key {key!r}", hint=hint, at=document.at(*steps, key)))

    def _names(self, document: Document, section: str) -> Mapping[str, Any]:
        return self._try(dag.mapping, document, section) or {}

    def _try(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return read(*args, **kwargs)
        except StudioloError as error:
            self.errors.append(error)
            return None


def _variants(file: Path) -> Iterator[str]:
    try:
        document = read_yaml(file)
        for node in dag.mapping(document, "node_variants"):
            default = document.get("node_variants", node, "default_variant_id")
            for each in dag.mapping(document, "node_variants", node, "variants"):
                if each != default:
                    yield f"{node}.{each}"
    except StudioloError:
        return  # told already


def _warnings(flow: Flow, broken: frozenset[str]) -> Iterator[Problem]:
    """Yield what runs, but hardly as it was meant."""
    chat_inputs = [name for name, each in flow.inputs.items() if each.is_chat_input]
    chat_outputs = [each for each in flow.outputs.values() if each.is_chat_output]
    at = Location(flow.file, 1)
    if flow.type == "chat" and len(chat_inputs) != 1:
        said = "no input has" if not chat_inputs else f"{' and '.join(chat_inputs)} have"
        yield Problem(f"a chat flow has one input that is said by the person; {said} `is_chat_input`", at=at,
                      severity="warning")  # fmt: skip
    if len(chat_outputs) > 1:
        yield Problem("more than one output has `is_chat_output`", at=chat_outputs[1].at, severity="warning")
    yield from _dropped(flow)
    if not broken:
        yield from _unused(flow, at)


def _dropped(flow: Flow) -> Iterator[Problem]:
    for output in flow.outputs.values():
        source = flow.node(output.value.source) if isinstance(output.value, Reference) else None
        if source and source.aggregation:
            message = f"output {output.name!r} uses the aggregation node {source.name!r}, and is left out of every line"
            yield Problem(message, hint="report a metric with log_metric", at=output.at, severity="warning")


def _unused(flow: Flow, at: Location) -> Iterator[Problem]:
    users: list[Node | Output] = [*flow.nodes, *flow.outputs.values()]
    used = {
        str(each.path[0])
        for user in users
        for each in (user.references() if isinstance(user, Node) else [user.value])
        if isinstance(each, Reference) and each.is_input
    }
    for name, declared in flow.inputs.items():
        if name not in used and not declared.is_chat_history:
            yield Problem(f"nothing uses the input {name!r}", at=at, severity="warning")


def _problem(error: StudioloError) -> Problem:
    return Problem(error.message, error.hint, error.at)


def _line(problem: Problem) -> tuple[int, int]:
    return (problem.at.line or 0, problem.at.column or 0) if problem.at else (0, 0)
