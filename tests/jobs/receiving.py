"""A webhook for tests of events: a server that keeps what it is sent, and answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jobs.events.deliveries import Courier
from jobs.events.rules import Rule
from workspace.home import Workspace

NOW = 4_000_000_000.0  # later than anything that happens here
DAY = 86_400.0


class Receiver:
    """A server that keeps what it is sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.status = 204
        self.holds = threading.Event()
        self.holds.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                outer.holds.wait(30)
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.holds.set()
    made.server.shutdown()
    made.server.server_close()


def said(workspace: Workspace, receiver: Receiver, now: float = NOW) -> list[dict[str, Any]]:
    """Tell all there is to tell, and return what the receiver got."""
    courier = Courier(workspace)
    while courier.tick(now):
        courier.wait()
    courier.close()
    return receiver.events


def to(receiver: Receiver, name: str = "rule", **filters: Any) -> Rule:
    return Rule(name=name, webhook=receiver.url, inside=True, **filters)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"].rpartition(".")[2] for each in events]
