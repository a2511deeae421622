"""Streams of a served flow: events as pieces come, for clients that read slowly, leave, or want it whole."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import openai
import psutil
import pytest

from flows.connections import Connection

if TYPE_CHECKING:
    from tests.flows.conftest import Server

Serve = Callable[..., "AbstractContextManager[Server]"]


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


# Streams


def test_events_are_the_other_outputs_and_then_each_piece(chat: Server) -> None:
    response = chat.score({"question": "Hm?", "words": 2}, accept="text/event-stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == (
        'data: {"turns":0}\n\ndata: {"answer":"Hm? after []: "}\n\ndata: {"answer":"0 "}\n\ndata: {"answer":"1 "}\n\n'
    )


def test_the_pieces_are_joined_for_who_wants_json(chat: Server) -> None:
    assert chat.score({"question": "Hm?", "words": 2}).json() == {"answer": "Hm? after []: 0 1 ", "turns": 0}


def test_a_failure_in_the_middle_of_a_stream_is_an_event(chat: Server) -> None:
    events = chat.score({"question": "Hm?", "words": 41}, accept="text/event-stream").text.split("\n\n")
    assert events[-3:-1] == [
        'data: {"answer":"39 "}',
        'event: error\ndata: {"error":{"code":"UserError","message":"ValueError: too many words"}}',
    ]


def test_a_client_that_leaves_ends_the_generator(chat: Server) -> None:
    asked = {"question": "I leave", "words": 1000}
    with httpx.stream("POST", f"{chat.url}/score", json=asked, headers={"accept": "text/event-stream"}) as response:
        next(response.iter_text())
    closed = chat.folder / "closed.txt"
    deadline = time.monotonic() + 10
    while (not closed.exists() or "I leave" not in closed.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "I leave" in closed.read_text()
    found: list[tuple[int, str | None]] = []
    while not found and time.monotonic() < deadline:  # it is told once the generator is closed
        lines = [each for each in chat.kept(2) if each.line and each.line.inputs["question"] == "I leave"]
        found = [(each.status, each.line.error if each.line else None) for each in lines]
    assert found == [(499, "the client left")]


def test_a_client_that_does_not_read_costs_no_memory(chat: Server) -> None:
    process = psutil.Process(chat.pids[0])
    before = process.memory_info().rss
    with socket.create_connection(("127.0.0.1", chat.port)) as connection:
        body = b'{"question": "Flood"}'
        head = f"host: localhost\r\naccept: text/event-stream\r\ncontent-length: {len(body)}"
        connection.sendall(f"POST /score HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
        time.sleep(1.5)
        assert process.memory_info().rss - before < 50_000_000
        assert chat.score({"question": "Hm?"}).status_code == 200
    deadline = time.monotonic() + 5
    while "Flood" not in (chat.folder / "closed.txt").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Flood" in (chat.folder / "closed.txt").read_text()


def test_a_line_whose_client_has_left_goes_no_further(plain: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plain.port)
    connection.request("POST", "/score", b'{"n": 80}')
    connection.close()
    time.sleep(1.8)
    seen = plain.folder / "seen.txt"
    assert "160" not in (seen.read_text().split() if seen.exists() else [])


def test_several_outputs_in_pieces_cannot_be_events(text: Server) -> None:
    expected = (400, "UserError", "Multiple stream output fields not supported.")
    assert error_of(text.score({"text": "a b"}, accept="text/event-stream")) == expected
    assert text.score({"text": "a b"}, accept="application/json").json() == {"a": "ab", "b": "ab"}


# Streams of a model


class Model(BaseHTTPRequestHandler):
    """A model server: it says three words, or goes on for ever where it is asked to, and notes who left."""

    left: threading.Event

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        forever = "forever" in asked["messages"][-1]["content"]
        words = itertools.repeat("on ") if forever else ["Never ", "mind ", "him."]
        try:
            for word in words:
                self._say({"choices": [{"index": 0, "delta": {"content": word}}]})
                time.sleep(0.02)
            self._say({"choices": [], "model": "m-1", "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
        except OSError:
            self.left.set()

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *arguments: Any) -> None:
        pass


LLM = """\
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, default: []}
outputs:
  answer: {type: string, reference: "${ask.output}", is_chat_output: true}
nodes:
- name: ask
  type: llm
  connection: far
  source: {type: code, path: ask.jinja2}
  inputs: {question: "${inputs.question}", model: m}
"""


@pytest.fixture(scope="module")
def asking(
    tmp_path_factory: pytest.TempPathFactory, serving: Serve, write: Callable[..., Path]
) -> Iterator[tuple[Server, threading.Event]]:
    """A chat flow that asks a model, and the event that its server sets when somebody hangs up."""
    top = tmp_path_factory.mktemp("asking")
    folder = write(top / "asking", LLM)
    (folder / "ask.jinja2").write_text("user:\n{{ question }}\n")
    model = ThreadingHTTPServer(("127.0.0.1", 0), type("Told", (Model,), {"left": threading.Event()}))
    threading.Thread(target=model.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{model.server_address[1]}/v1"
    far = Connection(name="far", configs={"base_url": url}, secrets={"api_key": "none"})
    with serving(folder, top / "home", {"far": far}) as server:
        yield server, cast("type[Model]", model.RequestHandlerClass).left
    model.shutdown()
    model.server_close()


def test_what_a_model_says_comes_as_it_says_it_and_is_counted(asking: tuple[Server, threading.Event]) -> None:
    server, _ = asking
    stream = client_of(server).chat.completions.create(
        model="asking",
        messages=[{"role": "user", "content": "What is matter?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks[1:4]] == ["Never ", "mind ", "him."]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (7, 3)
    line = server.kept()[0].line
    assert line is not None
    assert line.outputs == {"answer": "Never mind him."}
    assert [(node.tokens, node.model, node.output) for node in line.nodes] == [((7, 3), "m-1", "Never mind him.")]


def test_a_client_that_leaves_closes_the_models_stream(asking: tuple[Server, threading.Event]) -> None:
    server, left = asking
    body = {"question": "Go on forever"}
    with httpx.stream("POST", f"{server.url}/score", json=body, headers={"accept": "text/event-stream"}) as response:
        next(response.iter_text())
    assert left.wait(5)
