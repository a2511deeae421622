"""`studiolo flow serve` and `studiolo flow build` as a person starts them: real processes, signals, a built folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import psutil
import pytest

from studiolo.flow_serving import token_for
from workspace.errors import Invalid

FLOW = """\
inputs: {x: {type: int}}
outputs:
  y: {type: object, reference: "${tell.output}"}
nodes:
- name: tell
  type: python
  source: {type: code, path: tell.py}
  inputs: {x: "${inputs.x}", shop: shop}
environment_variables: {ADDRESS: "${shop.address}"}
"""
TELL = """\
import os
from promptflow.core import tool
from promptflow.connections import CustomConnection


@tool
def tell(x: int, shop: CustomConnection) -> list:
    return [2 * x, shop.key, shop.address, os.environ["ADDRESS"], os.environ.get("MORE")]
"""
SHOP = "name: shop\ntype: custom\nconfigs: {address: here}\nsecrets: {key: sk-kept}\n"
STUDIOLO = Path(sys.executable).with_name("studiolo")


ASK = """\
inputs: {q: {type: string}}
outputs:
  a: {type: string, reference: "${ask.output}"}
nodes:
- name: ask
  type: llm
  api: chat
  connection: models
  source: {type: code, path: ask.jinja2}
  inputs: {model: tiny, temperature: 0, q: "${inputs.q}"}
"""


class Model(BaseHTTPRequestHandler):
    """A server that answers every chat with the number of times that it was asked."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        message = {"role": "assistant", "content": f"answer {self.asked}"}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A flow whose tool uses a connection that the workspace keeps."""
    made = tmp_path / "tell"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(FLOW)
    (made / "tell.py").write_text(TELL)
    (tmp_path / "shop.yaml").write_text(SHOP)
    studiolo(tmp_path, "connection", "create", "--file", "shop.yaml")
    return made


def variables(top: Path, **more: str) -> dict[str, str]:
    path = f"{STUDIOLO.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "STUDIOLO_HOME": str(top / "home"), "PATH": path, **more}


def studiolo(top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([STUDIOLO, *arguments], cwd=top, env=variables(top), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def started(top: Path, command: list[str], **more: str) -> Iterator[tuple[str, subprocess.Popen[str], list[str]]]:
    """Start a server, and give its address and what it said."""
    server = subprocess.Popen(command, cwd=top, env=variables(top, **more), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        said = [server.stdout.readline()]
        yield said[0].partition("/score")[0], server, said
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()


def serve(folder: Path, *more: str) -> list[str]:
    return [str(STUDIOLO), "flow", "serve", "--source", str(folder), "--port", "0", *more]


def test_what_models_answered_while_a_flow_was_served_is_replayed_where_none_is(tmp_path: Path) -> None:
    made = tmp_path / "ask"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(ASK)
    (made / "ask.jinja2").write_text("# user:\n{{q}}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as model:
        Thread(target=model.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{model.server_port}/v1"
        (tmp_path / "models.yaml").write_text(f"name: models\ntype: open_ai\nbase_url: {url}\napi_key: k\n")
        studiolo(tmp_path, "connection", "create", "--file", "models.yaml")
        with started(tmp_path, serve(made, "--record", "tape.jsonl")) as (url, _, _):
            first = httpx.post(f"{url}/score", json={"q": "How are you?"}).json()
        model.shutdown()
    with started(tmp_path, serve(made, "--replay", "tape.jsonl")) as (url, _, _):
        again = httpx.post(f"{url}/score", json={"q": "How are you?"}).json()
        other = httpx.post(f"{url}/score", json={"q": "And you?"})
    assert first == again == {"a": "answer 1"}
    assert other.status_code == 400
    assert "tape.jsonl" in other.text


def test_a_flow_is_served_with_its_connections_until_it_is_told_to_end(folder: Path, tmp_path: Path) -> None:
    command = serve(folder, "--engine", "fastapi", "--skip-open-browser", "--environment-variables", "MORE=more")
    with started(tmp_path, command) as (url, server, _):
        answer = httpx.post(f"{url}/score", json={"x": 2}).json()
        assert answer == {"y": [4, "sk-kept", "here", "here", "more"]}
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0


def test_variables_override_what_connections_say(folder: Path, tmp_path: Path) -> None:
    with started(tmp_path, serve(folder), SHOP_KEY="sk-given", SHOP_ADDRESS="there") as (url, _, _):
        assert httpx.post(f"{url}/score", json={"x": 1}).json() == {"y": [2, "sk-given", "there", "there", None]}


def test_no_process_outlives_the_one_that_was_killed(folder: Path, tmp_path: Path) -> None:
    with started(tmp_path, serve(folder, "--workers", "2")) as (url, server, _):
        children = psutil.Process(server.pid).children(recursive=True)
        assert len(children) == 2
        assert httpx.get(f"{url}/health").status_code == 200
        server.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []


def test_who_listens_to_others_asks_for_a_token(folder: Path, tmp_path: Path) -> None:
    with started(tmp_path, serve(folder, "--host", "0.0.0.0")) as (url, server, _):  # noqa: S104
        assert server.stdout is not None
        header = server.stdout.readline().partition("Authorization: ")[2].strip()
        here = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert httpx.post(f"{here}/score", json={"x": 1}).status_code == 401
        assert httpx.post(f"{here}/score", json={"x": 1}, headers={"authorization": header}).status_code == 200


def test_the_token_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-that-nobody-guesses\n")
    (tmp_path / "weak").write_text("1234\n")
    assert token_for("127.0.0.1", file=tmp_path / "token", auth=True) == "a-token-that-nobody-guesses"
    assert token_for("0.0.0.0", file=None, auth=False) == ""  # noqa: S104
    with pytest.raises(Invalid, match="too easy"):
        token_for("127.0.0.1", file=tmp_path / "weak", auth=True)


def test_a_built_folder_starts_and_answers(folder: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    said = studiolo(tmp_path, "flow", "build", "--source", str(folder), "--output", str(built)).stderr
    assert "set SHOP_KEY where it is served" in said
    home = {"STUDIOLO_HOME": str(tmp_path / "elsewhere"), "PORT": "0", "SHOP_KEY": "sk-there"}
    began = time.monotonic()
    with started(tmp_path, [str(built / "start.sh")], **home) as (url, _, _):
        assert time.monotonic() - began < 30
        assert httpx.post(f"{url}/score", json={"x": 3}).json() == {"y": [6, "sk-there", "here", "here", None]}
        assert "build_number" in httpx.get(f"{url}/version").json()["build_info"]
