"""A model server on a real socket that answers as a test says: right, slowly, with garbage, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What is answered: `text` as a chat, or `raw` bytes as they are; `drop` closes the connection instead."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    drop: bool = False


Behaviour = Callable[[int, dict[str, Any]], Reply]
"""Given how many were asked before, and the body, what to do."""


@dataclass
class Server:
    """Where it listens, and what it was asked."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0


def doubled(_: int, body: dict[str, Any]) -> Reply:
    """Answer "7+7=" as it should be."""
    text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return Reply(str(eval_sum(text)))


def eval_sum(text: str) -> int:
    """Return the sum of the last line: `eval_sum("7+7=") == 14`."""
    return sum(int(part) for part in text.rstrip("=").splitlines()[-1].split("+"))


@contextmanager
def answering(behave: Behaviour = doubled) -> Iterator[Server]:
    """Give a server that behaves so."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._say(Reply(raw=json.dumps({"object": "list", "data": []}).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(server.asked)
                server.asked.append(body)
                server.now += 1
                server.most_at_once = max(server.most_at_once, server.now)
            try:
                reply = behave(number, body)
            finally:
                with lock:
                    server.now -= 1
            self._say(reply)

        def _say(self, reply: Reply) -> None:
            if reply.drop:
                self.close_connection = True
                return
            usage = {"prompt_tokens": 5, "completion_tokens": 1}
            message = {"role": "assistant", "content": reply.text}
            said = {"id": "x", "model": "mock", "choices": [{"index": 0, "message": message}], "usage": usage}
            raw = json.dumps(said).encode() if reply.raw is None else reply.raw
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "content-length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                self.close_connection = True  # who asked has gone

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            return

    class Listener(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            return  # clients of these tests leave in the middle

    listener = Listener(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}/v1")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
