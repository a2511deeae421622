"""Server-sent events: the pieces of an output as they come, to a client that may be slow or leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.serve import score as serve_score
from flows.serve.http import Call, Gone, Receive, Send, until_gone
from flows.serve.lines import LEFT, Pieces
from flows.streams import Stream

if TYPE_CHECKING:
    from flows.serve.app import App

PATIENCE = 60.0  # seconds in which a client must take an event


class Events:
    """Events as they leave: each must be taken within a time, or the client counts as gone."""

    def __init__(self, send: Send, pieces: Pieces) -> None:
        self._send = send
        self.pieces = pieces
        self.sent = 0  # bytes

    async def send(self, text: str, *, event: str = "") -> None:
        """Send one event; the text must be one line."""
        head = f"event: {event}\ndata: " if event else "data: "
        body = (head + text + "\n\n").encode("utf-8", "surrogatepass")
        self.sent += len(body)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            raise Gone from None


async def respond(
    app: App, call: Call, stream: Stream, write: Callable[[Events], Awaitable[None]], receive: Receive, send: Send
) -> None:
    """Answer with events: `write` is given the way out and the pieces of the stream.

    A failure in the middle is an event named `error`: the status has gone out already. A client that leaves ends the
    stream, and with it the generator of the flow.
    """
    call.status, call.begun = 200, True
    headers = [*app.headers(call, b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    events = Events(send, app.lines.pieces(stream))
    work = asyncio.ensure_future(write(events))
    watch = asyncio.ensure_future(until_gone(receive))
    error: str | None = LEFT
    try:
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Gone
        error = _told(work.exception())
        if error is not None:
            await events.send(app.failed(call, error).decode("utf-8", "replace"), event="error")
        await send({"type": "http.response.body", "body": b""})
    finally:
        watch.cancel()
        work.cancel()
        events.pieces.close()
        with suppress(asyncio.CancelledError, Exception):
            await work
        call.size += events.sent
        if call.line is not None:
            call.line = serve_score.with_streams(app.flow, call.line, error)


def _told(problem: BaseException | None) -> str | None:
    if isinstance(problem, Gone):
        raise problem
    return None if problem is None else f"{type(problem).__name__}: {problem}"
