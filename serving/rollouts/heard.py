"""What a watched request was answered: heard on its way to the client, up to a bound, and told as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from starlette.types import Send

LONGEST = 1_000_000  # bytes; of a longer answer nothing is said


class Heard:
    """An answer that passes by: give it as `send`, and ask for `text` at the end."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._parts: list[bytes] = []
        self._size = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass it on, and remember its bytes."""
        body = message.get("body", b"")
        self._size += len(body)
        if self._size <= LONGEST:
            self._parts.append(body)
        await self._send(message)

    @property
    def text(self) -> str | None:
        """The words of the first choice, tool calls as JSON; None where it was too long or no chat at all."""
        raw = b"".join(self._parts)
        if self._size > LONGEST or not raw:
            return None
        if raw.startswith((b"data:", b"event:", b":")):
            return "".join(filter(None, (_said(chunk) for chunk in _events(raw))))
        try:
            return _said(json.loads(raw))
        except ValueError:
            return None


def asked_for_json(request: Mapping[str, Any]) -> bool:
    """Whether the client wants JSON for an answer."""
    kind = request.get("response_format")
    return isinstance(kind, dict) and kind.get("type") in ("json_object", "json_schema")


def is_json(text: str) -> bool:
    """Whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _events(raw: bytes) -> Iterator[Any]:
    for line in raw.splitlines():
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            try:
                yield json.loads(line[5:])
            except ValueError:
                continue


def _said(body: Any) -> str | None:
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    told = choices[0].get("message") or choices[0].get("delta") or choices[0]
    if not isinstance(told, dict):
        return None
    calls = told.get("tool_calls")
    said = told.get("content") or told.get("text") or ""
    return str(said) + (json.dumps(calls) if calls else "")
