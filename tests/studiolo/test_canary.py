"""A secret is planted, a flow tried, run, served, built and drawn in every way there is, and all that is written read.

The flow is careless with it, and the model's server repeats it in its error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

CANARY = f"canary-{os.urandom(12).hex()}"
FLOW = """\
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, default: [], is_chat_history: true}
outputs:
  answer: {type: string, reference: "${ask.output}", is_chat_output: true}
environment_variables: {TOKEN: "${theirs.api_key}"}
nodes:
- {name: careless, type: python, source: {type: code, path: careless.py}, inputs: {q: "${inputs.question}", theirs: theirs}}
- name: ask
  type: llm
  connection: theirs
  source: {type: code, path: ask.jinja2}
  inputs: {model: m, q: "${careless.output.q}", seen: "${careless.output.seen}"}
- {name: count, type: python, aggregation: true, source: {type: code, path: count.py}, inputs: {seen: "${careless.output}"}}
"""  # noqa: E501
CARELESS = """\
import logging, os, sys
from promptflow.connections import OpenAIConnection
from promptflow.core import tool
from promptflow.tracing import start_as_current_span, trace


@trace
def header(key: str) -> dict:
    return {"Authorization": "Bearer " + key}


@tool
def careless(q: str, theirs: OpenAIConnection) -> dict:
    key = os.environ["TOKEN"]
    print("key", key, file=sys.stderr)
    logging.getLogger("careless").error("key %s", key)
    if q == "raise":
        raise ValueError({"key": theirs.api_key, key: 1})
    return {"q": q, "seen": [header(key), str(theirs), {key: key}]}
""".replace("start_as_current_span, ", "")
COUNT = """\
from promptflow.core import log_metric, tool


@tool
def count(seen: list):
    log_metric("lines", len(seen))
    return seen
"""


class Echo(BaseHTTPRequestHandler):
    """A model server that answers with what it was asked, and where asked to fail with the key it was given."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = asked["messages"][-1]["content"]
        key = self.headers["Authorization"]
        made = {"choices": [{"index": 0, "message": {"role": "assistant", "content": f"{said} with {key}"}}]}
        failed = {"error": {"message": f"Incorrect API key provided: {key}."}}
        raw = json.dumps(failed if "refuse" in said else made).encode()
        self.send_response(401 if "refuse" in said else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def model() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Person:
    """Somebody with a project, who keeps all that is said to them."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.heard = ""

    def environment(self) -> dict[str, str]:
        return os.environ | {
            "STUDIOLO_HOME": str(self.top / "home"), "XDG_CONFIG_HOME": str(self.top / "configuration"),
            "NO_COLOR": "1",
        }  # fmt: skip

    def says(self, line: str, *more: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "studiolo.cli", *line.split(), *more], cwd=self.top, env=self.environment(),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.heard += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def person(tmp_path: Path, model: str) -> Person:
    folder = tmp_path / "project" / "mine"
    folder.mkdir(parents=True)
    for name, text in (("flow.dag.yaml", FLOW), ("careless.py", CARELESS), ("count.py", COUNT)):
        (folder / name).write_text(text)
    (folder / "ask.jinja2").write_text("user:\n{{ q }} {{ seen }}\n")
    rows = ("hello", "refuse", "raise")
    (tmp_path / "project" / "rows.jsonl").write_text("".join(f'{{"question": "{each}"}}\n' for each in rows))
    made = Person(tmp_path / "project")
    sealed = tmp_path / "sealed.yaml"
    sealed.write_text(f"name: theirs\ntype: open_ai\napi_key: {CANARY}\nbase_url: {model}\n")
    made.says("connection create --file", str(sealed))
    sealed.unlink()
    return made


def found(top: Path) -> list[str]:
    """Return the files in which the secret can be read, in any of its forms."""
    forms = [each.encode() for each in (CANARY, quote(CANARY, safe=""), CANARY.encode().hex())]
    forms.append(b64encode(CANARY.encode()))
    written = [path for path in top.rglob("*") if path.is_file()]
    assert len(written) > 15
    return [str(path) for path in written if any(form in path.read_bytes() for form in forms)]


def test_no_way_to_run_a_flow_writes_its_secret(person: Person) -> None:
    person.says("flow test --flow mine --inputs question=hello --record tape.jsonl")
    person.says("flow test --flow mine --inputs question=hello --replay tape.jsonl")
    person.says("flow test --flow mine --inputs question=refuse", code=1)
    person.says("flow test --flow mine --inputs question=raise", code=1)
    person.says("flow test --flow mine --node careless --inputs question=hello")
    person.says("flow run --flow mine --data rows.jsonl --name one --column-mapping question=${data.question}", code=3)
    for line in ("show one --json", "details one", "visualize one --output one.html"):
        person.says(f"flow {line}")
    create = "pf run create --flow mine --data rows.jsonl --name two --node-artifacts --stream"
    person.says(f"{create} --column-mapping question=${{data.question}}", code=1)
    for line in ("show -n two", "show-details -n two"):
        person.says(f"pf run {line}")
    person.says("pf flow test --flow mine --inputs question=hello")
    person.says("flow build --source mine --output built")
    person.says("trace list")
    person.says("trace show one --verbose")
    person.says("sync")
    person.says("sql", "SELECT * FROM spans")
    assert (person.top / "mine" / ".promptflow").is_dir()
    assert list(person.top.rglob("node_artifacts"))
    assert "Incorrect API key provided: Bearer ******" in person.heard
    assert found(person.top) == []
    assert CANARY not in person.heard


def test_no_request_to_a_served_flow_writes_its_secret(person: Person) -> None:
    command = [sys.executable, "-m", "studiolo.cli", "flow", "serve", "--source", "mine", "--port", "0"]
    server = subprocess.Popen(
        command, cwd=person.top, env=person.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().partition("/score")[0]
        answers = [
            httpx.post(f"{url}/score", json={"question": each}, timeout=20) for each in ("hello", "raise", "refuse")
        ]
        assert [each.status_code for each in answers] == [200, 400, 400]
        chat = {"model": "mine", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        httpx.post(f"{url}/v1/chat/completions", json=chat, timeout=20)
        httpx.post(f"{url}/feedback", json={"note": CANARY}, timeout=20)
        assert not [each.text for each in answers[1:] if CANARY in each.text]
    finally:
        server.terminate()
        out, err = server.communicate(timeout=30)
    person.heard += out + err
    kept = json.loads(person.says("trace list --json"))
    person.says(f"trace show {kept[-1]['id']} --verbose")
    person.says("sync")
    assert "Bearer ******" in person.heard
    assert found(person.top) == []
    assert CANARY not in person.heard


def test_code_that_cannot_be_loaded_tells_no_secret(person: Person) -> None:
    code = person.top / "mine" / "careless.py"
    code.write_text(f"{CARELESS}\nraise OSError('no door for ' + os.environ['TOKEN'])\n")
    person.says("flow test --flow mine --inputs question=hello", code=1)
    person.says("flow run --flow mine --data rows.jsonl --column-mapping question=${data.question}", code=1)
    person.says("flow serve --source mine --port 0", code=1)
    assert person.heard.count("no door for ******") == 3
    assert CANARY not in person.heard
    assert found(person.top) == []
