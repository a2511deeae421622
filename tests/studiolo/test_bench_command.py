"""`studiolo bench endpoint` as a person runs it: a gateway of its own, a table, a page, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from serving import endpoints
from workspace.home import Workspace

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}


class Hello(BaseHTTPRequestHandler):
    """A server elsewhere that always says the same."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        raw = json.dumps(ANSWER | {"usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Iterator[Path]:
    """Where a person stands whose workspace has the endpoint "hello"."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoints.put(workspace, "hello")
    properties = {"base_url": f"http://127.0.0.1:{server.server_port}/v1"}
    endpoints.put_deployment(workspace, "hello", "blue", engine="openai", model="m", properties=properties)
    yield tmp_path
    server.shutdown()
    server.server_close()


def bench(folder: Path, *given: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "studiolo", "bench", "endpoint", "hello", "--no-stream", *given]
    environment = os.environ | {"STUDIOLO_HOME": str(folder / "home")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_load_ends_with_its_figures_and_a_page(folder: Path) -> None:
    done = bench(folder, "--requests", "8", "--clients", "2", "--json", "-o", "report.html")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    told = json.loads(out)
    assert (told["requests"], told["failed"], told["completion_tokens"]) == (8, 0, 8)
    assert set(told["latency"]) == {"p50", "p90", "p95", "p99"}
    assert "<svg" in (folder / "report.html").read_text()


def test_ctrl_c_prints_what_was_measured(folder: Path) -> None:
    running = bench(folder, "--seconds", "60")
    assert running.stderr
    assert "waiting for the first answer" in running.stderr.readline()
    kept = folder / "home" / "spool"
    while not any(path.stat().st_size > 3_000 for path in kept.glob("*.jsonl")):  # several requests have ended
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert " requests in " in out
    assert "whole answer" in out
    assert "next: studiolo bench endpoint hello --clients 2" in err
