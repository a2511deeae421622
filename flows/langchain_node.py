"""A LangChain Runnable as a node, and what happens inside it as spans of our trace.

`source: {path: chain.py:chain}` names a variable that is a Runnable, or a function that makes one; `chain` where no
name is given. Such a function may take `connection`, the node's, and is called once. A node with the one input
`input` invokes the Runnable with it, any other with all its inputs by name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.messages import BaseMessage, messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable
from langchain_core.tracers.base import BaseTracer
from pydantic import BaseModel

from flows import source_file, spans
from flows.connections import LOCAL_NAMES, Connection, find
from flows.references import Reference
from flows.results import plain
from flows.spans import Kind, Span
from workspace.errors import Invalid, Location, did_you_mean

if TYPE_CHECKING:
    from langchain_core.tracers.schemas import Run

    from flows.cassette import Cassette
    from flows.flow import Node
    from flows.steps import Kit, Step

NAME = "chain"
_KINDS: dict[str, Kind] = {
    "llm": "llm", "chat_model": "llm", "tool": "tool", "retriever": "retrieval", "embedding": "embedding",
}  # fmt: skip
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_ADDRESS = re.compile(r"https?://[^\s\"',)\]}]+")


def make(node: Node, kit: Kit) -> Step:
    """Import the file and find its Runnable; raises Invalid where it has none."""
    from flows.steps import Step

    runnable = _runnable(node, kit)
    streams = kit.streams(node) and kit.cassette is None
    if kit.cassette is not None:
        set_llm_cache(_Recorded(kit.cassette))

    async def call(**values: Any) -> Any:
        given = values["input"] if values.keys() == {"input"} else values
        tracer = Tracer(spans.current())
        if streams:
            return _pieces(runnable.astream(given, config={"callbacks": [tracer]}))
        return shown(await runnable.ainvoke(given, config={"callbacks": [tracer], "run_name": node.name}))

    constants = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    return Step(node=node, call=call, is_async=True, constants=constants)


class Tracer(BaseTracer):
    """Hangs what LangChain tells of a call under a span: models with their tokens, tools, retrievers, chains."""

    run_inline = True

    def __init__(self, span: Span | None) -> None:
        super().__init__(_schema_format="original+chat")
        self._span = span

    def _persist_run(self, run: Run) -> None:
        if self._span is not None:
            self._span.children.append(_span(run))


def shown(value: Any) -> Any:
    """Return a value of LangChain's as plain data: messages by role and content, documents by text and metadata.

    What a model has said is its text, unless it calls tools.
    """
    if isinstance(value, BaseMessage):
        called = getattr(value, "tool_calls", None)
        return _message(value) if called or not isinstance(value.content, str) else value.content
    if isinstance(value, Document):
        return {"text": value.page_content, "metadata": value.metadata}
    if isinstance(value, PromptValue):
        return [_message(each) for each in value.to_messages()]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value


class _Recorded(BaseCache):
    """LangChain asks its cache before a model and tells it what a model said: here that is a cassette."""

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        answer = self._cassette.answer(_request(prompt, llm_string))
        return None if answer is None else [_generation(each) for each in answer]

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        self._cassette.keep(_request(prompt, llm_string), [_kept(each) for each in return_val])

    def clear(self, **_: Any) -> None:
        """A cassette is cleared by deleting its file."""


def _runnable(node: Node, kit: Kit) -> Runnable[Any, Any]:
    assert node.path is not None  # noqa: S101 - the reader asks for it
    module = source_file.load(node.path, f"__chain_{node.name}__")
    name = node.source.rpartition(":")[2] if ":" in node.source else NAME
    at = Location(node.path)
    if not hasattr(module, name):
        known = [each for each, value in vars(module).items() if isinstance(value, Runnable)]
        hint = f"name it in `path`: {node.path.name}:{known[0]}" if known else did_you_mean(name, vars(module))
        raise Invalid(f"no {name!r} in {node.path.name}", hint=hint, at=at)
    found = getattr(module, name)
    if not isinstance(found, Runnable) and callable(found):
        takes = inspect.signature(found).parameters
        found = found(connection=_connection(node, kit)) if "connection" in takes else found()
    if not isinstance(found, Runnable):
        raise Invalid(f"{name!r} is a {type(found).__name__}, not a Runnable", hint="or a function making one", at=at)
    return found


def _connection(node: Node, kit: Kit) -> Any:
    from flows.promptflow.connections import as_promptflow

    if not node.connection:
        raise Invalid(f"node {node.name!r} needs `connection`: its chain asks for one", hint="or `default`", at=node.at)
    name = "default" if node.connection in LOCAL_NAMES else node.connection
    connection: Connection = find(kit.connections, name)
    return as_promptflow(connection)


async def _pieces(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for chunk in chunks:
        piece = shown(chunk)
        if piece not in ("", None):
            yield piece


# What LangChain tells


def _span(run: Run) -> Span:
    started = run.start_time.timestamp()
    span = Span(
        _KINDS.get(run.run_type, "chain"), run.name, inputs=plain(_told(run.inputs)), output=plain(_told(run.outputs)),
        error=run.error.splitlines()[0] if run.error else None, started_at=started,
        ended_at=run.end_time.timestamp() if run.end_time else started,
        children=[_span(each) for each in run.child_runs],
    )  # fmt: skip
    if span.kind == "llm":
        _tell_model(span, run)
    return span


def _told(value: Any) -> Any:
    """Return inputs or outputs as people read them: without the one key LangChain puts around them."""
    if isinstance(value, Mapping):
        if value.keys() in ({"input"}, {"output"}, {"documents"}):
            return _told(next(iter(value.values())))
        if "generations" in value:
            return [each.get("text") for batch in value["generations"] for each in batch]
        if "messages" in value:
            return [_dumped(each) for batch in value["messages"] for each in batch]
    return shown(value)


def _dumped(message: Any) -> Any:
    """Return a message that LangChain has written as the call of its constructor."""
    said = message.get("kwargs") if isinstance(message, Mapping) else None
    if not said:
        return shown(message)
    calls = {"tool_calls": said["tool_calls"]} if said.get("tool_calls") else {}
    return {"role": _ROLES.get(said.get("type"), said.get("type")), "content": said.get("content"), **calls}


def _tell_model(span: Span, run: Run) -> None:
    asked = (run.extra or {}).get("invocation_params") or {}
    model = asked.get("model") or asked.get("model_name")
    span.attributes |= {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    for batch in (run.outputs or {}).get("generations") or []:
        for each in batch:
            said = (each.get("message") or {}).get("kwargs") or {}
            used = said.get("usage_metadata") or {}
            span.prompt_tokens += int(used.get("input_tokens") or 0)
            span.completion_tokens += int(used.get("output_tokens") or 0)
            model = (said.get("response_metadata") or {}).get("model_name") or model
    span.model = model
    span.attributes |= {
        "gen_ai.usage.input_tokens": span.prompt_tokens, "gen_ai.usage.output_tokens": span.completion_tokens,
        "gen_ai.response.model": model,
    }  # fmt: skip


def _message(message: BaseMessage) -> dict[str, Any]:
    said = {"role": _ROLES.get(message.type, message.type), "content": message.content}
    called = getattr(message, "tool_calls", None)
    return said | ({"tool_calls": called} if called else {})


# What a cassette keeps


def _request(prompt: str, llm: str) -> dict[str, Any]:
    # The address is no part of what decides the answer, and another one when the gateway starts anew.
    return {"api": "langchain", "prompt": prompt, "model": _ADDRESS.sub("", llm)}


def _kept(generation: Generation) -> dict[str, Any]:
    if isinstance(generation, ChatGeneration):
        return {"message": messages_to_dict([generation.message])[0]}
    return {"text": generation.text}


def _generation(kept: Mapping[str, Any]) -> Generation:
    if "message" in kept:
        return ChatGeneration(message=messages_from_dict([dict(kept["message"])])[0])
    return Generation(text=kept["text"])
