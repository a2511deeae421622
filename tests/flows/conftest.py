"""Flows of plain Python nodes, made in the test's own folder, and servers of them."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

import flows
from flows.connections import Connection
from flows.serve.log import Served, served
from flows.serve.workers import Ready, Replaced, Serving, serve

TOOL = "from promptflow.core import tool, log_metric\n\n\n@tool\n"


@pytest.fixture
def make_flow(tmp_path: Path) -> Callable[..., Path]:
    """Write a flow folder: `make_flow(yaml, double="def double(x: int): return 2 * x")`."""

    def make(text: str, **tools: str) -> Path:
        folder = tmp_path / "my-flow"
        folder.mkdir(exist_ok=True)
        (folder / "flow.dag.yaml").write_text(text)
        for name, code in tools.items():
            (folder / f"{name}.py").write_text(TOOL + code + "\n")
        return folder

    return make


@pytest.fixture
def doubling(make_flow: Callable[..., Path]) -> Path:
    """A flow that doubles a number after a pause, fails at 5, and sums up at the end."""
    return make_flow(
        DOUBLING,
        double=(
            "def double(x: int, pause: float) -> int:\n"
            "    import time\n"
            "    time.sleep(pause)\n"
            "    if x == 5:\n"
            "        raise ValueError('five is not for us')\n"
            "    return 2 * x"
        ),
        total=(
            "def total(doubled: list, given: list) -> None:\n"
            "    assert all(d == 2 * x for d, x in zip(doubled, given, strict=True))\n"
            "    log_metric('sum', sum(doubled))"
        ),
    )


DOUBLING = """\
inputs:
  x: {type: int}
  pause: {type: double, default: 0}
outputs:
  y: {type: int, reference: "${double.output}"}
nodes:
- name: double
  type: python
  source: {type: code, path: double.py}
  inputs: {x: "${inputs.x}", pause: "${inputs.pause}"}
- name: total
  type: python
  aggregation: true
  source: {type: code, path: total.py}
  inputs: {doubled: "${double.output}", given: "${inputs.x}"}
"""


# Served flows


@dataclass
class Server:
    """A flow that is served for a test."""

    url: str
    folder: Path
    home: Path
    pids: tuple[int, ...]
    stop: threading.Event
    ended: threading.Event
    events: queue.SimpleQueue[Replaced] = field(default_factory=queue.SimpleQueue)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def score(self, content: Any, **headers: str) -> httpx.Response:
        """POST to /score: JSON of a mapping, else the content as it is."""
        body = json.dumps(content) if isinstance(content, dict) else content
        return httpx.post(f"{self.url}/score", content=body, headers=headers, timeout=20)

    def kept(self, count: int = 1) -> list[Served]:
        """What was written of requests, once there are that many."""
        deadline = time.monotonic() + 5
        while len(found := list(served(self.home))) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@contextmanager
def _serving(
    folder: Path, home: Path, connections: dict[str, Connection] | None = None, **how: Any
) -> Iterator[Server]:
    """Serve a flow on a free port for the block."""
    stop, ended = threading.Event(), threading.Event()
    events = serve(flows.load(folder), connections or {}, Serving(port=0, home=home, **how), stop)
    ready = next(events)
    assert isinstance(ready, Ready)
    server = Server(ready.url, folder, home, ready.pids, stop, ended)

    def follow() -> None:
        for event in events:
            assert isinstance(event, Replaced)
            server.events.put(event)
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield server
    finally:
        stop.set()
        assert ended.wait(20)


def _write(folder: Path, text: str, **tools: str) -> Path:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(text)
    for name, code in tools.items():
        (folder / f"{name}.py").write_text(SERVED_TOOL + code)
    return folder


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[Server]]:
    """Serve a flow on a free port for a block: `with serving(folder, home, connections, workers=2) as server:`."""
    return _serving


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Write a flow folder: `write(folder, yaml, say="def say(): …")`."""
    return _write


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Doubles a number; fails, dies or takes its time where it is told to."""
    top = tmp_path_factory.mktemp("plain")
    folder = _write(top / "plain", SERVED_PLAIN, work=WORK, after=AFTER)
    (folder / "samples.json").write_text('[{"n": 21}]')
    keys = {"shop": Connection(name="shop", type="custom", secrets={"key": "sk-canary-12345"})}
    with _serving(folder, top / "home", keys) as server:
        yield server


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Repeats the question and the history, then counts, word by word."""
    top = tmp_path_factory.mktemp("chat")
    count = "def count(history: list) -> int:\n    return len(history)\n"
    with _serving(_write(top / "talk", CHAT, say=SAY, count=count), top / "home") as server:
        yield server


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One input, two outputs that come piece by piece."""
    top = tmp_path_factory.mktemp("text")
    say = "def say(text: str):\n    yield from text.split()\n"
    with _serving(_write(top / "text", TEXT, say=say), top / "home") as server:
        yield server


SERVED_TOOL = "import os, time\nfrom promptflow.core import tool\n\n\n@tool\n"
SERVED_PLAIN = """\
inputs:
  n: {type: int}
  word: {type: string, default: hi}
outputs:
  twice: {type: int, reference: "${work.output}"}
  word: {type: string, reference: "${inputs.word}"}
  hidden: {type: int, reference: "${work.output}", evaluation_only: true}
nodes:
- name: work
  type: python
  source: {type: code, path: work.py}
  inputs: {n: "${inputs.n}"}
- name: after
  type: python
  source: {type: code, path: after.py}
  inputs: {n: "${work.output}"}
environment_variables: {FROM_FILE: "from the file", FROM_BOTH: "from the file"}
"""
WORK = """\
def work(n: int):
    if n == 5:
        raise ValueError("five is not for us, nor is sk-canary-12345")
    if n == 6:
        return {1, 2}
    if n == 7:
        os._exit(7)
    if n in (8, 80):
        time.sleep(1)
    return 2 * n
"""
AFTER = """\
def after(n: int):
    with open("seen.txt", "a") as seen:
        seen.write(f"{n} ")
"""
CHAT = """\
type: chat
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, is_chat_history: true, default: []}
  words: {type: int, default: 3}
outputs:
  answer: {type: string, reference: "${say.output}", is_chat_output: true}
  turns: {type: int, reference: "${count.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}", history: "${inputs.chat_history}", words: "${inputs.words}"}
- name: count
  type: python
  source: {type: code, path: count.py}
  inputs: {history: "${inputs.chat_history}"}
"""
SAY = """\
def say(question: str, history: list, words: int):
    try:
        yield f"{question} after {[(t['inputs'], t['outputs']) for t in history]}: "
        for number in range(words):
            if number == 40:
                raise ValueError("too many words")
            if words > 50:
                time.sleep(0.05)
            yield f"{number} "
        while question == "Flood":
            yield "x" * 100_000
    finally:
        with open("closed.txt", "a") as closed:
            closed.write(question + "\\n")
"""
TEXT = """\
inputs: {text: {type: string}}
outputs:
  a: {type: string, reference: "${one.output}"}
  b: {type: string, reference: "${two.output}"}
nodes:
- {name: one, type: python, source: {type: code, path: say.py}, inputs: {text: "${inputs.text}"}}
- {name: two, type: python, source: {type: code, path: say.py}, inputs: {text: "${inputs.text}"}}
"""


@dataclass
class ModelServer:
    """A model server that says what it is told to, and keeps what it was asked."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    replies: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)  # before the usual one
    delay: float = 0.0
    now: int = 0
    most: int = 0

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        if body.get("stream"):
            return [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hel", "lo", None)] + [
                {"choices": [], "model": "m-1", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
            ]
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        if "/chat/" not in path:
            return {"choices": [{"index": 0, "text": "done"}], "usage": usage, "model": "m-1"}
        said = {"role": "assistant", "content": "Hello"}
        if body.get("tools") or body.get("functions"):
            said = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}  # type: ignore[dict-item]
        return {"id": "a1", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": usage,
                "model": "m-1"}  # fmt: skip


@pytest.fixture
def modelling() -> Iterator[ModelServer]:
    kept, lock = ModelServer(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                kept.asked.append(
                    {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}} | {"body": body}
                )
                kept.now += 1
                kept.most = max(kept.most, kept.now)
                reply = kept.replies.pop(0) if kept.replies else (200, {}, kept.answer(self.path, body))
            threading.Event().wait(kept.delay)
            with lock:
                kept.now -= 1
            status, headers, content = reply
            if status == 0:  # goes away without a word
                self.close_connection = True
                return
            raw = json.dumps(content).encode()
            if isinstance(content, list):
                raw = (
                    b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in content)
                    + b"data: [DONE]\n\n"
                )
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    class Listening(ThreadingHTTPServer):
        request_queue_size = 128

    made = Listening(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{made.server_port}"
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield kept
    made.shutdown()
    made.server_close()
