"""Control planes that fire schedules and tell events, two at once, and killed in the middle of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs import records
from jobs.events import deliveries, rules
from jobs.events.rules import Rule
from jobs.files import read_schedule
from jobs.schedules import firing, store
from tests.workspace.conftest import any_workspace as any_workspace
from tests.workspace.conftest import postgres_server as postgres_server
from tests.workspace.conftest import postgres_url as postgres_url
from workspace.home import Workspace

COUNT = 12


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not happen"
        time.sleep(0.05)


class Control:
    """A control plane in a process of its own."""

    def __init__(self, workspace: Workspace) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        line = [sys.executable, "-m", "studiolo.control", "--home", str(workspace.home), "--port", str(self.port)]
        self.process = subprocess.Popen(line, env=os.environ | workspace.settings.environment())

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook, and what it was sent."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "any_workspace",
    ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])],
    indirect=True,
)
def test_each_schedule_is_one_job_and_each_event_is_told_whoever_is_killed(
    any_workspace: Workspace, received: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, got = received
    workspace = any_workspace
    rules.create(workspace, Rule(name="ended", webhook=url, inside=True, types=("RunCompleted",)))
    (tmp_path / "job.yml").write_text("command: 'true'\n")
    path = tmp_path / "now.yml"
    lives, falls = Control(workspace), Control(workspace)
    try:
        until(lambda: lives.answers() and falls.answers())
        for number in range(COUNT):
            # Without a start it is due at once.
            trigger = "trigger: {type: recurrence, frequency: day, interval: 1}\n"
            path.write_text(f"name: now{number}\n{trigger}create_job: job.yml\n")
            store.put(workspace, read_schedule(path), now=time.time())
            if number in (COUNT // 3, 2 * COUNT // 3):
                until(lambda: any(firing.listed(workspace, f"now{each}") for each in range(COUNT)))
                falls.kill()
                falls = Control(workspace)
        until(lambda: len([job for job in records.list_jobs(workspace) if job.ended]) == COUNT)
        until(lambda: {each["data"]["runId"] for each in got} == {job.name for job in records.list_jobs(workspace)})
        until(lambda: deliveries.counts(workspace, "ended") == {"delivered": COUNT})
    finally:
        lives.kill()
        falls.kill()
    jobs = records.list_jobs(workspace)
    assert sorted(job.properties["studiolo.schedule"] for job in jobs) == sorted(f"now{each}" for each in range(COUNT))
    assert {job.status for job in jobs} == {"Completed"}
    assert len({each["id"] for each in got}) == COUNT
