"""An engine's streamed chat as plain steps, one thing at a time: opened, more, closed, and at the end why and how much.

Chunks may cut a text anywhere and mix the calls of several tools; a client of responses or messages is told of one
part after the other. A call's pieces wait until the part before it is whole.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Opened:
    """A part begins: text, a refusal, or a call of the tool `name` under the id `call`."""

    kind: Literal["text", "refusal", "call"]
    name: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class More:
    """A piece of the open part; for text perhaps how likely its tokens were."""

    text: str
    logprobs: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The open part is whole."""


Step = Opened | More | Closed


@dataclass(slots=True)
class _Call:
    name: str
    id: str
    waiting: deque[str] = field(default_factory=deque)
    said: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether the arguments are a JSON value already."""
        try:
            json.loads("".join(self.said))
        except (ValueError, RecursionError):
            return False
        return True


class Chunks:
    """One streamed chat. `feed` yields its steps, `end` the last ones; then `reason`, `stop` and `usage` are known."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.stop: str | None = None  # the stop text that ended it, where the engine says so
        self.usage: Mapping[str, Any] | None = None
        self._open: Literal["text", "refusal"] | _Call | None = None
        self._calls: dict[int, _Call] = {}
        self._queue: deque[_Call] = deque()
        self._begun = False

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Step]:
        """Yield what a chunk adds; of several choices the first counts."""
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or choice.get("message") or {}
            logprobs = ((choice.get("logprobs") or {}).get("content")) or ()
            yield from self._words("text", delta.get("content"), logprobs)
            yield from self._words("refusal", delta.get("refusal"), ())
            for position, call in enumerate(delta.get("tool_calls") or ()):
                yield from self._called(call.get("index", position), call)
            self.reason = choice.get("finish_reason") or self.reason
            if isinstance(stop := choice.get("stop_reason"), str):
                self.stop = stop

    def end(self) -> Iterator[Step]:
        """Yield the steps that are left; an answer without any part is an empty text."""
        while self._open is not None or self._queue:
            yield from self._close()
        if not self._begun:
            yield from (Opened("text"), Closed())

    def _words(self, kind: Literal["text", "refusal"], text: object, logprobs: Sequence[Any]) -> Iterator[Step]:
        if not isinstance(text, str) or not (text or logprobs):
            return
        if self._open != kind:
            while self._open is not None:  # a text after calls: they are whole
                yield from self._close()
            self._open, self._begun = kind, True
            yield Opened(kind)
        yield More(text, logprobs)

    def _called(self, index: int, piece: Mapping[str, Any]) -> Iterator[Step]:
        function = piece.get("function") or {}
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call(function.get("name") or "", piece.get("id") or f"call_{index}")
            self._queue.append(call)
        if arguments := function.get("arguments"):
            call.waiting.append(arguments)
        if not isinstance(self._open, _Call) or (self._open is not call and self._open.whole):
            yield from self._close()
        yield from self._say()

    def _close(self) -> Iterator[Step]:
        """Close the open part, and open the call that has waited longest."""
        if self._open is not None:
            self._open = None
            yield Closed()
        if self._queue:
            self._open = self._queue.popleft()
            self._begun = True
            yield Opened("call", self._open.name, self._open.id)
            yield from self._say()

    def _say(self) -> Iterator[Step]:
        if isinstance(self._open, _Call):
            while self._open.waiting:
                self._open.said.append(self._open.waiting.popleft())
                yield More(self._open.said[-1])
