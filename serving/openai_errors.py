"""What went wrong, in the shape that OpenAI clients read: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from workspace.errors import Conflict, Denied, Invalid, NotFound, StudioloError, Unavailable

TOO_LONG = "context_length_exceeded"
_TOO_LONG = (b"maximum context length", b"exceed_context_size_error")  # as vLLM and llama.cpp say it
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_STATUS: Mapping[type[StudioloError], tuple[int, str]] = {
    Denied: (403, "denied"),
    NotFound: (404, "not_found"),
    Invalid: (400, "invalid_value"),
    Conflict: (409, "conflict"),
    Unavailable: (503, "unavailable"),
}


class Refusal(StudioloError):
    """A request that is answered with an error: `Refusal(404, "no model 'x'", code="model_not_found")`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The answer as JSON."""
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {
            "message": self.message,
            "type": _TYPES.get(self.status, fallback),
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")  # half an emoji is no UTF-8

    @property
    def event(self) -> bytes:
        """The same as a server-sent event: headers are gone already, the client must still learn of it."""
        return b"event: error\ndata: " + self.body + b"\n\n"


def refusal(error: StudioloError) -> Refusal:
    """Return how one of our errors is told to a client: its message, its hint and the status that fits."""
    if isinstance(error, Refusal):
        return error
    status, code = next((found for kind, found in _STATUS.items() if isinstance(error, kind)), (500, "server_error"))
    message = f"{error} ({error.hint})" if error.hint else str(error)
    return Refusal(status, message, code=code, headers={"retry-after": "2"} if status == 503 else None)


def with_code(body: bytes) -> bytes:
    """Return an engine's 400 with the code that clients look for where a prompt is too long, for which it has words."""
    if not any(words in body for words in _TOO_LONG):
        return body
    return _changed(body, lambda error: {} if isinstance(error.get("code"), str) else {"code": TOO_LONG})


def renamed(body: bytes, names: Mapping[str, str]) -> bytes:
    """Return an error that names a field as its client calls it."""
    return _changed(body, lambda error: {"param": names[error["param"]]} if error.get("param") in names else {})


def _changed(body: bytes, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:
        return body
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or not (changed := change(error)):
        return body
    return json.dumps({**value, "error": {**error, **changed}}).encode()
