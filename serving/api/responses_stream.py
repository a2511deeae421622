"""A streamed chat told as a response: the events that OpenAI's clients and Open Responses read, numbered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from serving.api import sse
from serving.api.chunks import Chunks, Closed, More, Opened, Step

Event = dict[str, Any]

_UNFINISHED = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseStream:
    """One response on its way. `begin`, `feed` each chunk, `end` (or `fail`); `response` is what has come of it."""

    def __init__(self, identifier: str, base: Mapping[str, Any], *, now: float | None = None) -> None:
        self._id = identifier
        self._chunks = Chunks()
        self._number = 0
        self._item: dict[str, Any] | None = None  # the open one, the last of the output
        self._part: dict[str, Any] | None = None  # its open part
        self.response: dict[str, Any] = {
            "id": identifier,
            "object": "response",
            "created_at": int(time.time() if now is None else now),
            "completed_at": None,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **base,
        }

    @property
    def settled(self) -> bool:
        """Whether it has ended, well or not."""
        return bool(self.response["status"] != "in_progress")

    def begin(self) -> list[Event]:
        """Return the events that say that it is being made."""
        return [
            self._event("response.created", response=self._snapshot()),
            self._event("response.in_progress", response=self._snapshot()),
        ]

    def feed(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Return the events of one chunk of the chat."""
        return list(self._told(self._chunks.feed(chunk)))

    def end(self) -> list[Event]:
        """Return the events that end it; a chat that gave no reason for its end was cut off."""
        if self._chunks.reason is None:
            return self.fail("the engine's answer ended in the middle")
        why = _UNFINISHED.get(self._chunks.reason)
        events = list(self._told(self._chunks.end(), last="incomplete" if why else "completed"))
        self.response["usage"] = usage(self._chunks.usage)
        if why:
            self.response |= {"status": "incomplete", "incomplete_details": {"reason": why}}
        else:
            self.response |= {"status": "completed", "completed_at": int(time.time())}
        return [*events, self._event(f"response.{self.response['status']}", response=self._snapshot())]

    def fail(self, message: str) -> list[Event]:
        """Return the event that says that it failed; what was made so far stays in it."""
        if self._item:
            self._item["status"] = "incomplete"
        self.response |= {"status": "failed", "error": {"code": "server_error", "message": message}}
        return [self._event("response.failed", response=self._snapshot())]

    def whole(self, chat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response for a chat that was answered at once."""
        self.feed(chat)
        self.end()
        if self.response["status"] == "failed":
            raise ValueError("the chat has no answer")
        return self.response

    def render(self, events: Iterable[Event]) -> bytes:
        """Return the events as they go over the wire, after the last of them the mark that says so."""
        told = b"".join(sse.event(event["type"], event) for event in events)
        return told + sse.DONE if self.settled else told

    def _told(self, steps: Iterable[Step], *, last: str = "completed") -> Iterator[Event]:
        for step in steps:
            if isinstance(step, Opened):
                yield from self._opened(step)
            elif isinstance(step, More):
                yield self._more(step)
            elif isinstance(step, Closed):
                yield from self._closed(last)

    def _opened(self, step: Opened) -> Iterator[Event]:
        place = len(self.response["output"])
        tail = f"{self._id.partition('_')[2]}{place:04x}"
        if step.kind == "call":
            self._item = {"id": f"fc_{tail}", "type": "function_call", "status": "in_progress"}
            self._item |= {"call_id": step.call, "name": step.name, "arguments": ""}
        else:
            self._item = {"id": f"msg_{tail}", "type": "message", "status": "in_progress"}
            self._item |= {"role": "assistant", "content": []}
        self.response["output"].append(self._item)
        yield self._event("response.output_item.added", output_index=place, item={**self._item})
        if step.kind != "call":
            text = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self._part = text if step.kind == "text" else {"type": "refusal", "refusal": ""}
            self._item["content"] = [self._part]
            yield self._event("response.content_part.added", **self._where(), part={**self._part})

    def _more(self, step: More) -> Event:
        assert self._item is not None  # noqa: S101  a piece follows what it is a piece of
        if self._part is None:
            self._item["arguments"] += step.text
            return self._event("response.function_call_arguments.delta", **self._where(), delta=step.text)
        if self._part["type"] == "refusal":
            self._part["refusal"] += step.text
            return self._event("response.refusal.delta", **self._where(), delta=step.text)
        self._part["text"] += step.text
        self._part["logprobs"] = [*self._part["logprobs"], *step.logprobs]  # events told before keep theirs
        return self._event("response.output_text.delta", **self._where(), delta=step.text, logprobs=list(step.logprobs))

    def _closed(self, status: str) -> Iterator[Event]:
        assert self._item is not None  # noqa: S101  only what is open is closed
        where = self._where()
        if self._part is None:
            call = {"name": self._item["name"], "arguments": self._item["arguments"]}
            yield self._event("response.function_call_arguments.done", **where, **call)
        else:
            kind = "refusal" if self._part["type"] == "refusal" else "output_text"
            yield self._event(f"response.{kind}.done", **where, **{k: v for k, v in self._part.items() if k in _DONE})
            yield self._event("response.content_part.done", **where, part={**self._part})
        self._item["status"] = status
        yield self._event("response.output_item.done", output_index=where["output_index"], item={**self._item})
        self._item = self._part = None

    def _where(self) -> dict[str, Any]:
        assert self._item is not None  # noqa: S101  asked for the open item only
        where = {"item_id": self._item["id"], "output_index": len(self.response["output"]) - 1}
        return where if self._part is None else {**where, "content_index": 0}

    def _snapshot(self) -> dict[str, Any]:
        return {**self.response, "output": [{**item} for item in self.response["output"]]}

    def _event(self, kind: str, **values: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **values}
        self._number += 1
        return event


_DONE = frozenset({"text", "refusal", "logprobs"})


def usage(counts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a chat's token counts as a response tells them."""
    if counts is None:
        return None
    read, written = int(counts.get("prompt_tokens") or 0), int(counts.get("completion_tokens") or 0)
    cached = (counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (counts.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": read + written,
    }
