"""A served flow as an OpenAI chat model: the last user message is its chat input, what came before is its history."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.flow import Flow
from flows.results import LineRecord
from flows.serve import score as serve_score
from flows.serve import stream as serve_stream
from flows.serve.http import Call, Receive, Refused, Send, answer, encode, read
from flows.serve.stream import Events
from flows.streams import Stream

if TYPE_CHECKING:
    from flows.serve.app import App

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          429: "rate_limit_error"}  # fmt: skip
FAILED = "flow_failed"  # the code of what the flow itself has not managed
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def models(flow: Flow) -> dict[str, Any]:
    """Return the list with the one model there is."""
    made = int(flow.file.stat().st_mtime) if flow.file.exists() else 0
    return {
        "object": "list",
        "data": [{"id": flow.name, "object": "model", "created": made, "owned_by": "studiolo"}],
    }


def error(refused: Refused, message: str) -> bytes:
    """Return a refusal in the shape that OpenAI's clients read; its message as it may be told."""
    fallback = "server_error" if refused.status >= 500 else "invalid_request_error"
    said = {
        "message": message,
        "type": _TYPES.get(refused.status, fallback),
        "param": None,
        "code": FAILED if refused.code == FAILED else "model_not_found" if refused.status == 404 else None,
    }
    return encode({"error": said}).encode("utf-8", "surrogatepass")


async def complete(app: App, call: Call, receive: Receive, send: Send) -> None:
    """Answer one chat completion, whole or as it comes."""
    asked = _asked(app.flow, await read(call, receive, largest=app.largest_body))
    streams = asked.get("stream") is True
    inputs = serve_score.checked(app.flow, inputs_of(app.flow, asked["messages"], asked.get("inputs") or {}))
    call.line = record = await app.run(call, inputs, receive, stream=streams)
    if (refused := failure(record)) is not None:
        raise refused
    made = (record.outputs or {}).get(said_by(app.flow, record))
    reply = _Reply(call, app.flow.name, app.terms.digest, asked)
    if not streams:
        body = encode(reply.whole(_text(made), record)).encode("utf-8", "surrogatepass")
        await answer(call, send, body, app.headers(call))
        return
    stream = made if isinstance(made, Stream) else Stream(iter([_text(made)]))

    async def write(events: Events) -> None:
        await events.send(encode(reply.chunk({"role": "assistant", "content": ""})))
        async for piece in events.pieces:
            await events.send(encode(reply.chunk({"content": _text(piece)})))
        await events.send(encode(reply.chunk({}, finish="stop")))
        if reply.include_usage:
            await events.send(encode(reply.usage(serve_score.with_streams(app.flow, record, None))))
        await events.send("[DONE]")

    await serve_stream.respond(app, call, stream, write, receive, send)


def failure(record: LineRecord) -> Refused | None:
    """Return how a line that has not completed is told: by whose doing it was.

    An input that cannot be read is the client's, 400. All else is the flow's, 500: a node that raised, an output that
    cannot be made, a person who would have to decide. The client is told that asking again is no use: nodes may have
    done something already.
    """
    refused = serve_score.failure(record)
    if refused is None or serve_score.is_clients(record):
        return refused
    return failed(refused.message)


def failed(message: str) -> Refused:
    """Return what is told where the flow has failed."""
    return Refused(500, message, code=FAILED, headers=[(b"x-should-retry", b"false")])


def inputs_of(flow: Flow, messages: Sequence[Mapping[str, Any]], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that a conversation means; `others` are inputs besides.

    Instructions (`system`) go into a history of messages; a history of turns has no place for them, the flow has its
    own.
    """
    last = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=-1)
    if last < 0:
        raise Refused(400, "the messages hold none from the user")
    asked = flow.chat_input or (next(iter(flow.inputs)) if len(flow.inputs) == 1 else None)
    if asked is None:
        raise Refused(400, f"the flow {flow.name!r} is no chat flow: use /score")
    inputs = {**others, asked: _content(flow, asked, messages[last].get("content"))}
    if flow.chat_history:
        earlier = messages[:last]
        inputs[flow.chat_history] = (
            _turns(flow, asked, earlier) if flow.kind == "dag" else [dict(message) for message in earlier]
        )
    return inputs


def said_by(flow: Flow, record: LineRecord) -> str:
    """Return the output that is the answer: the chat output, else the only one."""
    names = list(record.outputs or ())
    if flow.chat_output in names:
        return str(flow.chat_output)
    if len(names) == 1:
        return names[0]
    raise Refused(400, f"the flow {flow.name!r} has no chat output among {names}: use /score")


def _asked(flow: Flow, raw: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise Refused(400, f"the body is no JSON: {problem}") from None
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "`messages` must be a list of messages")
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise Refused(400, f"a message needs a `role`, one of {', '.join(_ROLES)}")
    if asked.get("model") != flow.name:
        raise Refused(404, f"no model {asked.get('model')!r} here: this is {flow.name!r}")
    if asked.get("n") not in (None, 1):
        raise Refused(400, "a flow gives one answer: leave `n` out")
    if not isinstance(asked.get("inputs") or {}, dict):
        raise Refused(400, "`inputs` must be an object: inputs of the flow besides the conversation")
    return dict(asked)


def _content(flow: Flow, name: str, content: Any) -> Any:
    """A message's content as the input takes it: a text, or a list of texts and images in the flow's own format."""
    parts = content if isinstance(content, list) else None
    if flow.inputs[name].type == "list":
        if parts is None:
            return [content] if flow.message_format == "basic" else [{"type": "text", "text": content}]
        return parts if flow.message_format != "basic" else [_basic(part) for part in parts]
    if parts is None:
        return "" if content is None else content
    if any(part.get("type") != "text" for part in parts):
        raise Refused(400, f"the flow's input {name!r} takes text only")
    return "\n".join(str(part.get("text", "")) for part in parts)


def _basic(part: Mapping[str, Any]) -> Any:
    if part.get("type") != "image_url":
        return part.get("text", "")
    url = str((part.get("image_url") or {}).get("url", ""))
    if url.startswith("data:"):
        kind, _, data = url.removeprefix("data:").partition(";base64,")
        return {f"data:{kind};base64": data}
    return {"data:image/*;url": url}


def _turns(flow: Flow, asked: str, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    said = flow.chat_output or next(iter(flow.outputs), "answer")
    for message in messages:
        if message["role"] == "user":
            turns.append({"inputs": {asked: _content(flow, asked, message.get("content"))}, "outputs": {said: ""}})
        elif message["role"] == "assistant":
            if not turns or turns[-1]["outputs"][said]:
                turns.append({"inputs": {asked: ""}, "outputs": {said: ""}})
            turns[-1]["outputs"][said] = _plain(message.get("content"))
    return turns


def _plain(content: Any) -> Any:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else content


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else encode(value)


class _Reply:
    """The shapes of one answer."""

    def __init__(self, call: Call, model: str, digest: str, asked: Mapping[str, Any]) -> None:
        self.include_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        self._same: dict[str, Any] = {"id": f"chatcmpl-{call.id}", "created": int(time.time()), "model": model}
        self._same["system_fingerprint"] = digest.removeprefix("sha256:")[:16]

    def whole(self, text: str, record: LineRecord) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._same, "object": "chat.completion", "choices": [choice], "usage": _usage(record)}

    def chunk(self, delta: Mapping[str, Any], *, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.include_usage else {}
        return {**self._same, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def usage(self, record: LineRecord) -> dict[str, Any]:
        return {**self._same, "object": "chat.completion.chunk", "choices": [], "usage": _usage(record)}


def _usage(record: LineRecord) -> dict[str, int]:
    _, _, _, (prompt, completion), _, _ = record.summary()
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
