"""An OpenAI-compatible server that answers at once and costs next to nothing, to measure what stands in front of it.

`python benchmarks/mock_upstream.py --port 8000 --events 20 --pause 0.1`; a stream has so many events, a pause apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import httptools
import uvloop

USED = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
BODY = json.dumps(
    {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USED}
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def event(text: str) -> bytes:
    """Return one event as a chunk."""
    data = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


DELTA = event(json.dumps({**CHUNK, "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}))
END = event(json.dumps({**CHUNK, "choices": [], "usage": USED})) + event("[DONE]") + b"0\r\n\r\n"


class Mock(asyncio.Protocol):
    """One connection."""

    def __init__(self, events: int, pause: float) -> None:
        self.events, self.pause = events, pause
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if b'"stream":true' in body or b'"stream": true' in body:
            self.transport.write(HEAD + DELTA)
            self.next(self.events - 1)
        else:
            self.transport.write(WHOLE)

    def next(self, left: int) -> None:
        if left <= 0:
            self.transport.write(END)
        elif not self.pause:
            self.transport.write(DELTA * left + END)
        else:
            self.timer = asyncio.get_running_loop().call_later(self.pause, self.more, left)

    def more(self, left: int) -> None:
        self.transport.write(DELTA)
        self.next(left - 1)


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.1)
    given = parser.parse_args()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Mock(given.events, given.pause), "127.0.0.1", given.port, backlog=2_048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
