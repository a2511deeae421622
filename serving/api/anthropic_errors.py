"""What went wrong, in the shape that Anthropic's clients read: `{"type": "error", "error": {type, message}}`."""

from __future__ import annotations

import json
from typing import Any

from starlette.types import Message, Send

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_of(status: int, message: str) -> dict[str, Any]:
    """Return the error for a status."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


class AnthropicErrors:
    """A `send` that tells errors in Anthropic's shape and names the request as its clients look for it."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id
        self._start: Message | None = None  # of an error, held until its body is known
        self._parts: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Take one of the messages of an answer."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"request-id", self._id.encode())]}
            if message["status"] < 400:
                await self._send(message)
            else:
                self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await self._tell(self._start, b"".join(self._parts))

    async def _tell(self, start: Message, body: bytes) -> None:
        told = {**error_of(start["status"], _message(body)), "request_id": self._id}
        body = json.dumps(told).encode()
        headers = [
            (name, value) for name, value in start["headers"] if name not in (b"content-length", b"content-type")
        ]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _message(body: bytes) -> str:
    """Return the words of an error of an OpenAI-like server, with the field that it names."""
    try:
        error = json.loads(body)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace") or "the engine gave no reason"
    param = error.get("param")
    return f"{param}: {message}" if param and param not in message else message
