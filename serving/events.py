"""Server-sent events on their way through the gateway: only whole ones leave, and the token counts are read.

The gateway asks every engine for the counts, because it records them; `Events` takes them out again where the
client did not ask.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 4_000_000  # bytes of one event
_TAIL = 4_096  # bytes of what was last passed on, in which the reason of the end is
_DECODER = json.JSONDecoder()
_END = re.compile(rb"\r?\n\r?\n")
# In JSON a quote inside a string follows a backslash, so these match the member itself and never some text.
_NO_COUNTS = re.compile(rb',\s*"usage"\s*:\s*null')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_ID = re.compile(rb'"id"\s*:\s*"([A-Za-z0-9._:-]{1,128})"')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"([a-z_]{1,32})"')
# An error event of OpenAI's, vLLM's or ours: its data is an error and nothing besides.
_ERROR = re.compile(rb'^data:\s*\{\s*"error"\s*:\s*(?=\{)', re.MULTILINE)
_CODE = re.compile(r"[a-z_]{1,64}")
_USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*(?=\{)')


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt: int
    completion: int


class Events:
    """One stream. `feed` returns the whole events among what came so far."""

    def __init__(self, *, counts_wanted: bool) -> None:
        self.usage: Usage | None = None
        self.error: str | None = None  # the code of a failure that the engine told
        self._counts_wanted = counts_wanted
        self._rest = b""
        self._last: deque[bytes] = deque(maxlen=4)  # the end of the stream says why it ended

    @property
    def finish(self) -> str | None:
        """Why the answer ended, None where it did not say."""
        return finish(b"".join(self._last))

    def feed(self, chunk: bytes) -> bytes:
        """Return events that are complete, each with its empty line; what is not waits for the next chunk."""
        buffer = self._rest + chunk
        plain, carriage = buffer.rfind(b"\n\n"), buffer.rfind(b"\n\r\n")
        end = max(plain + 2 if plain >= 0 else 0, carriage + 3 if carriage >= 0 else 0)
        whole, self._rest = buffer[:end], buffer[end:]
        if len(self._rest) > LONGEST:
            raise ValueError(f"an event longer than {LONGEST:,} bytes")
        if whole:
            self._last.append(whole[-_TAIL:])
            if b'"error"' in whole and (told := _ERROR.search(whole)):
                self.error = error_code(whole[told.end() :]) or "engine_failed"
        return self._read(whole) if b'"usage"' in whole else whole

    def _read(self, events: bytes) -> bytes:
        kept, start = [], 0
        for end in _END.finditer(events):
            event = events[start : end.end()]
            start = end.end()
            found = usage(event)
            self.usage = found or self.usage
            if self._counts_wanted:
                kept.append(event)
            elif not (found and _NO_CHOICES.search(event)):
                kept.append(_NO_COUNTS.sub(b"", event))
        return b"".join(kept)


def answer_id(text: bytes) -> str | None:
    """Return what an answer, or its first event, calls itself: "chatcmpl-…"; it stands near the beginning."""
    found = _ID.search(text, 0, 512)
    return found[1].decode("latin-1") if found else None


def finish(text: bytes) -> str | None:
    """Return why an answer ended, its last choice where there are several: "stop", "length", "tool_calls"."""
    place = text.rfind(b'"finish_reason"')
    while place >= 0:  # in a stream the last ones may say null
        if found := _FINISH.match(text, place):
            return found[1].decode()
        place = text.rfind(b'"finish_reason"', 0, place)
    return None


def error_code(text: bytes) -> str | None:
    """Return what an error calls itself: "flow_failed"; None where it has no name."""
    try:
        found, _ = _DECODER.raw_decode(text.decode("utf-8", "replace").lstrip())
        code = (found.get("error") or found).get("code")
    except (ValueError, AttributeError):
        code = None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else None


def usage(text: bytes) -> Usage | None:
    """Return the token counts in an answer or an event, found without reading all of it as JSON."""
    near = max(0, text.rfind(b'"usage"') - 1)  # the counts are near the end, and short
    starts = [match.end() for match in _USAGE.finditer(text, near)] or [m.end() for m in _USAGE.finditer(text, 0, near)]
    if not starts:
        return None
    try:
        found, _ = _DECODER.raw_decode(text[starts[-1] : starts[-1] + 4_096].decode("utf-8", "replace"))
        return Usage(int(found.get("prompt_tokens") or 0), int(found.get("completion_tokens") or 0))
    except (ValueError, TypeError):
        return None


def asking_for_counts(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request of a stream so that its end tells the token counts."""
    options = request.get("stream_options")
    if options is not None and not isinstance(options, dict):
        return dict(request)  # wrong: the engine says so
    return {**request, "stream_options": {**(options or {}), "include_usage": True}}


def wants_counts(request: Mapping[str, Any]) -> bool:
    """Whether the client itself asked for the counts of its stream."""
    options = request.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))
