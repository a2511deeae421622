"""One line walks the graph: every node starts when what it needs is there; the first failure ends the line."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows import chat_text, llm, python_tools, templates
from flows.connections import Connection, find
from flows.flow import Flow, Node
from flows.references import Reference, follow
from flows.results import BYPASSED, COMPLETED, FAILED, LineRecord, NodeRecord

if TYPE_CHECKING:
    import httpx

_SKIPPED = object()  # the output of a node that did not run


@dataclass
class Kit:
    """What nodes are run with: the tools and prompts of one flow, loaded once, and the ways out."""

    flow: Flow
    connections: Mapping[str, Connection]
    client: httpx.AsyncClient
    pool: Executor
    tools: dict[str, Callable[..., Any]] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)

    def load(self) -> None:
        """Import the tools and read the prompts; raises what the flow's own code raises."""
        for node in self.flow.nodes:
            if node.type == "python":
                self.tools[node.name] = python_tools.load(node.path)
            else:
                self.prompts[node.name] = node.path.read_text(encoding="utf-8")


@dataclass(slots=True)
class _Ran:
    output: Any
    record: NodeRecord


async def walk(kit: Kit, number: int, inputs: Mapping[str, Any]) -> LineRecord:
    """Run the line's nodes (all but aggregation) and return what came of it; never raises for the flow's own errors."""
    started = time.time()
    nodes = [node for node in kit.flow.nodes if not node.aggregation]
    tasks: dict[str, asyncio.Task[_Ran]] = {}
    for node in nodes:  # in an order in which they can run: what a node awaits exists already
        tasks[node.name] = asyncio.create_task(_after(kit, node, inputs, tasks))
    if tasks:
        _, pending = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    records, outputs = [], {}
    for name, task in tasks.items():
        if task.cancelled():
            continue
        if isinstance(problem := task.exception(), NodeFailed):
            if problem.record.name == name:  # else it is a failure that this node only waited for
                records.append(problem.record)
        else:
            records.append(task.result().record)
            outputs[name] = task.result().output
    failed = [record for record in records if record.status == FAILED]
    error = f"node {failed[0].name!r}: {failed[0].error}" if failed else None
    made: dict[str, Any] | None = None
    if error is None:
        try:
            made = _flow_outputs(kit.flow, inputs, outputs)
        except (ValueError, LookupError, AttributeError, TypeError) as problem:
            error = f"output: {problem}"
    return LineRecord(
        number=number,
        status=FAILED if error else COMPLETED,
        inputs=dict(inputs),
        outputs=made,
        error=error,
        nodes=tuple(records),
        duration=time.time() - started,
    )


async def aggregate(kit: Kit, lists: Mapping[str, Any]) -> tuple[NodeRecord, ...]:
    """Run the aggregation nodes once; `lists` are flow inputs ("inputs.x") and node outputs by name, a list each."""
    inputs = {name.removeprefix("inputs."): values for name, values in lists.items() if name.startswith("inputs.")}
    tasks: dict[str, asyncio.Task[_Ran]] = {}
    for name, values in lists.items():
        if not name.startswith("inputs."):
            tasks[name] = asyncio.create_task(_ready(name, values))
    records = []
    for node in (node for node in kit.flow.nodes if node.aggregation):
        tasks[node.name] = asyncio.create_task(_after(kit, node, inputs, tasks))
        try:
            records.append((await tasks[node.name]).record)
        except NodeFailed as failed:
            records.append(failed.record)
    return tuple(records)


class NodeFailed(Exception):
    """A node failed; its record says how."""

    def __init__(self, record: NodeRecord) -> None:
        super().__init__(record.error)
        self.record = record


async def _ready(name: str, values: Any) -> _Ran:
    return _Ran(values, NodeRecord(name=name, type="", status=COMPLETED))


async def _after(kit: Kit, node: Node, inputs: Mapping[str, Any], tasks: Mapping[str, asyncio.Task[_Ran]]) -> _Ran:
    sources = {reference.source for reference in node.references() if not reference.is_input}
    done = {source: (await tasks[source]).output for source in sources}
    started = time.time()
    values: dict[str, Any] = {}
    try:
        if _is_bypassed(node, inputs, done):
            return _Ran(_SKIPPED, NodeRecord(name=node.name, type=node.type, status=BYPASSED))
        values = _arguments(kit, node, inputs, done)
        output, answer = await _run(kit, node, values)
    except asyncio.CancelledError:
        raise
    except BaseException as problem:
        record = NodeRecord(
            name=node.name, type=node.type, status=FAILED, inputs=_shown(values), error=_described(problem, node),
            started_at=started, ended_at=time.time(),
        )  # fmt: skip
        raise NodeFailed(record) from problem
    record = NodeRecord(
        name=node.name,
        type=node.type,
        status=COMPLETED,
        inputs=_shown(values),
        output=_plain(output),
        started_at=started,
        ended_at=time.time(),
        tokens=(answer.prompt_tokens, answer.completion_tokens) if answer else (0, 0),
        model=answer.model if answer else None,
    )
    return _Ran(output, record)


def _is_bypassed(node: Node, inputs: Mapping[str, Any], done: Mapping[str, Any]) -> bool:
    if node.activate is not None:
        when = node.activate.when
        if isinstance(when, Reference):
            if not when.is_input and done[when.source] is _SKIPPED:
                return True
            when = _resolved(when, inputs, done)
        return bool(when != node.activate.value)
    used = {value.source for value in node.inputs.values() if isinstance(value, Reference) and not value.is_input}
    return bool(used) and all(done[source] is _SKIPPED for source in used)


def _arguments(kit: Kit, node: Node, inputs: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
    tool = kit.tools.get(node.name)
    literals = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    values = python_tools.literals(tool, literals) if tool else literals
    for name, value in node.inputs.items():
        if not isinstance(value, Reference):
            continue
        if not value.is_input and done[value.source] is _SKIPPED:
            if tool is None or not python_tools.has_default(tool, name):
                values[name] = None
            continue
        values[name] = _resolved(value, inputs, done)
    return values


def _resolved(reference: Reference, inputs: Mapping[str, Any], done: Mapping[str, Any]) -> Any:
    if reference.is_input:
        return follow(inputs, reference.path)
    return follow(done[reference.source], reference.path)


async def _run(kit: Kit, node: Node, values: dict[str, Any]) -> tuple[Any, llm.Answer | None]:
    if node.type == "python":
        return await _call(kit, kit.tools[node.name], values), None
    if node.type == "prompt":
        return templates.render(kit.prompts[node.name], values), None
    parameters = {name: value for name, value in values.items() if name in llm.PARAMETERS}
    variables = {name: chat_text.guard(value) for name, value in values.items() if name not in llm.PARAMETERS}
    text = templates.render(kit.prompts[node.name], variables)
    prompt = chat_text.parse(text) if node.api == "chat" else text
    connection = find(kit.connections, node.connection)
    answer = await llm.ask(kit.client, connection, api=node.api, prompt=prompt, parameters=parameters)
    return answer.value, answer


async def _call(kit: Kit, tool: Callable[..., Any], values: dict[str, Any]) -> Any:
    given = {name: value for name, value in values.items() if python_tools.accepts(tool, name)}
    if inspect.iscoroutinefunction(tool):
        return await tool(**given)
    return await asyncio.get_running_loop().run_in_executor(kit.pool, lambda: tool(**given))


def _flow_outputs(flow: Flow, inputs: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
    aggregations = {node.name for node in flow.nodes if node.aggregation}
    made: dict[str, Any] = {}
    for name, output in flow.outputs.items():
        value = output.value
        if isinstance(value, Reference):
            if value.source in aggregations:
                continue
            skipped = not value.is_input and done[value.source] is _SKIPPED
            value = None if skipped and not value.path else _resolved(value, inputs, done)
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name!r} cannot be written as JSON: {error}") from None
        made[name] = value
    return made


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def _described(problem: BaseException, node: Node) -> str:
    own = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(node.path)]
    where = f" ({node.path.name}:{own[-1].lineno})" if own else ""
    said = str(problem) or type(problem).__name__
    return f"{type(problem).__name__}: {said}{where}" if own else f"{said}"
