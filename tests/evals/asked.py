"""A model server on a free port whose answers are a function of what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from evals.scorers.asking import ChatModel

Answer = Callable[[dict[str, Any]], object]


class Refusal(Exception):
    """The server answers with this status."""

    def __init__(self, status: int, retry_after: str | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = retry_after


@contextmanager
def server_that_answers(answer: Answer, *, name: str = "tiny") -> Iterator[ChatModel]:
    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                body, status, wait = answer(request), 200, None
            except Refusal as refusal:
                body, status, wait = {"error": {"message": "no"}}, refusal.status, refusal.retry_after
            self.send_response(status)
            self.send_header("x-studiolo-model", f"model:{name}:3")
            if wait is not None:
                self.send_header("retry-after", wait)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/v1"
            yield ChatModel(base_url=address, model=name, api_key="k", pause=0.01)
        finally:
            server.shutdown()


def said(text: object) -> dict[str, object]:
    """A chat completion of that text."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}
