"""Flows and prompties as Python functions: `load_flow("folder")(question="…")`, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
import sys
import weakref
from collections.abc import Awaitable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from flows import graph, overrides, prompty, prompty_step, spans
from flows.connections import Connection
from flows.flow import Flow as Read
from flows.flow import Input
from flows.mapping import converted
from flows.promptflow.connections import from_promptflow
from flows.promptflow.types import UserErrorException
from flows.results import FAILED, LineRecord
from flows.runner import Runner
from flows.steps import KIT, Kit
from workspace import Workspace
from workspace.errors import Invalid
from workspace.settings import Settings

if TYPE_CHECKING:
    from queue import SimpleQueue

CONCURRENCY = 16


class FlowContext:
    """What is different when a flow is called: connections and variant, parts of its file, answers as they come.

    `connections` are `{"node": {"connection": a name or an object}}`, `overrides` `{"nodes.ask.inputs.model": "…"}`.
    """

    def __init__(
        self,
        *,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        variant: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        streaming: bool | None = None,
    ) -> None:
        self.connections = {node: dict(given) for node, given in (connections or {}).items()}
        self.variant = variant
        self.overrides = dict(overrides or {})
        self.streaming = streaming

    def same(self, other: FlowContext) -> bool:
        """Whether nothing would run differently."""
        return vars(self) == vars(other)


class Flow:
    """A flow that can be called; it is made ready at the first call and again where its `context` has changed."""

    def __init__(self, path: Path, *, connections: Mapping[str, Connection] | None = None) -> None:
        self.flow = graph.load(path)
        self.context = FlowContext()
        self._given = dict(connections or {})
        self._ready: tuple[FlowContext, Read, Runner] | None = None
        self._stack = ExitStack()
        weakref.finalize(self, self._stack.close)

    @classmethod
    def load(cls, source: str | Path, **others: Any) -> Any:
        """Load a flow folder or file; a prompty becomes a Prompty."""
        file = graph.find_file(Path(source))
        if file.suffix == ".prompty":
            return Prompty.load(file, **others)
        return cls(file, connections=others.get("connections"))

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.flow.name

    @property
    def path(self) -> Path:
        """Return its file."""
        return self.flow.file

    @property
    def code(self) -> Path:
        """Return its folder."""
        return self.flow.folder

    @property
    def inputs(self) -> Mapping[str, Input]:
        """Return what it takes."""
        return self.flow.inputs

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Return what it gives."""
        return self.flow.outputs

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Run it and return its outputs; raises UserErrorException where a node failed."""
        if args:
            raise UserErrorException("a flow is called with keyword arguments only")
        return self._value(self._line(inputs))

    def invoke(self, inputs: Mapping[str, Any], connections: Any = None, **_others: Any) -> SimpleNamespace:
        """Run it and return a result with `output`, `run_info` and `node_run_infos`."""
        if connections:
            self._given |= {name: _kept(each, name) for name, each in connections.items()}
            self._ready = None
        line = self._line(inputs)
        return SimpleNamespace(
            output=self._value(line), node_run_infos={node.name: node for node in line.nodes}, run_info=line
        )

    def _value(self, line: LineRecord) -> Any:
        if line.status == FAILED:
            raise UserErrorException(line.error or "the flow failed")
        made = dict(line.outputs or {})
        return made["output"] if self.flow.kind != "dag" and list(made) == ["output"] else made

    def _line(self, inputs: Mapping[str, Any]) -> LineRecord:
        flow, runner = self._runner()
        try:
            given = converted(flow, {name: value for name, value in inputs.items() if name in flow.inputs})
        except ValueError as error:
            raise UserErrorException(str(error)) from None
        with spans.child("chain", flow.name, inputs=dict(given)) as span, _within(flow.folder):
            box: SimpleQueue[LineRecord] = _box()
            runner.start(0, given, box.put, stream=bool(self.context.streaming))
            line = box.get()
            span.output, span.error = line.outputs, line.error
            for node in line.nodes:
                prompt, completion = node.tokens
                spans.record_usage(prompt_tokens=prompt, completion_tokens=completion, model=node.model, cost=node.cost)
        return line

    def _runner(self) -> tuple[Read, Runner]:
        if self._ready is not None and self._ready[0].same(self.context):
            return self._ready[1:]
        context = copy.copy(self.context)
        context.connections, context.overrides = copy.copy(context.connections), dict(context.overrides)
        flow = graph.load(self.flow.file, variant=context.variant)
        given, named = _connections(context)
        flow = _overridden(overrides.with_connections(flow, named), context.overrides)
        connections = {**self._stack.enter_context(reachable(flow)), **self._given, **given}
        sys.path.insert(0, str(flow.folder))
        os.environ.update(flow.environment_variables)
        home = Settings.from_environment().home.absolute()
        kit = Kit(flow=flow, connections=connections, stream=bool(context.streaming), home=home)
        with _within(flow.folder):
            runner = Runner(kit, concurrency=CONCURRENCY)
        self._stack.callback(runner.close)
        self._ready = (context, flow, runner)
        return flow, runner


class AsyncFlow(Flow):
    """A flow that is awaited."""

    def __call__(self, *args: Any, **inputs: Any) -> Awaitable[Any]:
        """Run it; awaiting gives its outputs."""
        return asyncio.to_thread(super().__call__, *args, **inputs)

    def invoke(self, inputs: Mapping[str, Any], connections: Any = None, **others: Any) -> Any:
        """Run it; awaiting gives a result with `output`."""
        return asyncio.to_thread(super().invoke, inputs, connections, **others)


class Prompty:
    """A prompty that can be called; keyword arguments are its inputs, the answer has the form it says."""

    def __init__(self, path: str | Path, model: Mapping[str, Any] | None = None, **others: Any) -> None:
        over = {key: value for key, value in others.items() if key in prompty.KEYS}
        model_over = {**(model or {}), **{key: others[key] for key in prompty.MODEL_KEYS if key in others}}
        self.prompty = prompty.load(Path(path), override={**over, **({"model": model_over} if model_over else {})})
        self._given = {name: _kept(each, name) for name, each in (others.get("connections") or {}).items()}

    @classmethod
    def load(cls, source: str | Path, **others: Any) -> Any:
        """Load a prompty; `model` replaces parts of what it says of its model."""
        return cls(source, **others)

    @property
    def path(self) -> Path:
        """Return its file."""
        return self.prompty.file

    @property
    def code(self) -> Path:
        """Return its folder."""
        return self.prompty.file.parent

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.prompty.name

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Ask the model; where the prompty streams, the answer is a generator of texts."""
        return _waited(self._asked(args, inputs))

    def render(self, *args: Any, **inputs: Any) -> Any:
        """Return what the model would be asked: messages, or a text."""
        _refuse_positional(args)
        connections = {**self._given, "default": Connection.to_gateway("http://localhost", "none")}
        return prompty_step.messages(prompty_step.ready(self.prompty, connections), inputs)

    def estimate_token_count(self, *args: Any, **inputs: Any) -> int:
        """Return about how many tokens the prompt is: a quarter of its characters."""
        rendered = self.render(*args, **inputs)
        texts = [rendered] if isinstance(rendered, str) else [str(each.get("content") or "") for each in rendered]
        return sum(len(text) // 4 + 4 for text in texts)

    async def _asked(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> Any:
        _refuse_positional(args)
        flow = prompty.read(self.prompty.file)
        with reachable(flow) as found:
            connections = {**found, **self._given}
            kit = Kit(flow=flow, connections=connections)
            name = self.prompty.name
            with spans.child("chain", name, inputs=dict(inputs)) as span:
                try:
                    made = prompty_step.ready(self.prompty, connections)
                    span.output = await prompty_step.ask(made, inputs, kit)
                except ValueError as error:
                    raise UserErrorException(str(error)) from error
                finally:
                    await kit.aclose()
            if self.prompty.model.parameters.get("stream") and isinstance(span.output, str):
                return iter([span.output])
            return span.output


class AsyncPrompty(Prompty):
    """A prompty that is awaited."""

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Ask the model; awaiting gives the answer."""
        return self._asked(args, inputs)


@contextmanager
def reachable(flow: Read) -> Iterator[dict[str, Connection]]:
    """Give what a flow reaches: inside a node what that flow reaches, else what the workspace keeps."""
    kit = KIT.get()
    if kit is not None:
        yield dict(kit.connections)
        return
    from studiolo.flow_connections import connections_for

    with ExitStack() as stack, connections_for(flow, lambda: stack.enter_context(Workspace.open())) as found:
        yield found


def _connections(context: FlowContext) -> tuple[dict[str, Connection], dict[str, dict[str, Any]]]:
    """Return the objects among a context's connections by a name of their own, and what each node is to use."""
    objects: dict[str, Connection] = {}
    named: dict[str, dict[str, Any]] = {}
    for node, given in context.connections.items():
        named[node] = {}
        for key, value in given.items():
            if isinstance(value, str):
                named[node][key] = value
                continue
            kept = _kept(value, f"{node}.{key}")
            objects[kept.name] = kept
            named[node][key] = kept.name
    return objects, named


def _kept(connection: Any, name: str) -> Connection:
    if isinstance(connection, Connection):
        return connection
    kept = from_promptflow(connection) if connection.name else None
    if kept is None:
        connection.name = name
        kept = from_promptflow(connection)
        connection.name = None
    return kept


def _overridden(flow: Read, given: Mapping[str, Any]) -> Read:
    """Return a flow with parts of its file set anew, by their paths: `nodes.ask.inputs.model`, `inputs.q.default`."""
    nodes = {node.name: node for node in flow.nodes}
    declared = dict(flow.inputs)
    variables = dict(flow.environment_variables)
    for path, value in given.items():
        parts = path.split(".")
        if parts[0] == "nodes" and len(parts) == 4 and parts[2] == "inputs" and parts[1] in nodes:
            node = nodes[parts[1]]
            nodes[parts[1]] = dataclasses.replace(node, inputs={**node.inputs, parts[3]: value})
        elif parts[0] == "nodes" and len(parts) == 3 and parts[2] in ("connection", "api") and parts[1] in nodes:
            nodes[parts[1]] = dataclasses.replace(nodes[parts[1]], **{parts[2]: value})
        elif parts[0] == "inputs" and len(parts) == 3 and parts[2] == "default" and parts[1] in declared:
            declared[parts[1]] = dataclasses.replace(declared[parts[1]], default=value)
        elif parts[0] == "environment_variables" and len(parts) == 2:
            variables[parts[1]] = str(value)
        else:
            hint = "nodes.NODE.inputs.NAME, nodes.NODE.connection, inputs.NAME.default, environment_variables.NAME"
            raise Invalid(f"the flow has no {path!r} to override", hint=hint)
    ordered = tuple(nodes[node.name] for node in flow.nodes)
    return dataclasses.replace(flow, nodes=ordered, inputs=declared, environment_variables=variables)


@contextmanager
def _within(folder: Path) -> Iterator[None]:
    """Have the flow's folder as the current one, as its code expects; inside a node that is so already."""
    if KIT.get() is not None:
        yield
        return
    with contextlib.chdir(folder):
        yield


def _waited(work: Any) -> Any:
    """Wait for async work from code that is not; where this thread has a loop, in another one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, work).result()


def _refuse_positional(args: tuple[Any, ...]) -> None:
    if args:
        raise UserErrorException("a prompty is called with keyword arguments only")


def _box() -> SimpleQueue[LineRecord]:
    import queue

    return queue.SimpleQueue()
