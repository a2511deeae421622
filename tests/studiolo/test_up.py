"""`studiolo up`, `status` and `down` with the real services, on ports and in a workspace of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from studiolo.services import answers, read_house
from workspace.home import Workspace
from workspace.processes import Identity, is_alive
from workspace.settings import Settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
NAMES = ("gateway", "control", "studio", "mlflow")


@pytest.fixture(scope="module")
def settings(model_workspace: Workspace) -> Settings:
    """The workspace with the models, with four free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    ports = {f"{name}_port": each.getsockname()[1] for name, each in zip(NAMES, sockets, strict=True)}
    for each in sockets:
        each.close()
    return replace(model_workspace.settings, **ports)


@pytest.fixture(scope="module")
def up(settings: Settings) -> Iterator[str]:
    """What `studiolo up --detach` printed."""
    done = studiolo(settings, "up", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    yield done.stdout
    ours = processes(settings.home)
    assert studiolo(settings, "down").returncode == 0
    assert [each for each in ours if is_alive(each)] == []


def studiolo(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | settings.environment() | {"NO_COLOR": "1"}
    command = [sys.executable, "-m", "studiolo.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def processes(home: Path) -> list[Identity]:
    house = read_house(home)
    assert house is not None
    return [house.identity, *(each.identity for each in house.services)]


def status(settings: Settings) -> dict[str, Any]:
    found = json.loads(studiolo(settings, "status", "--json").stdout)
    assert isinstance(found, dict)
    return found


def until(claim: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_up_prints_the_addresses_and_a_link_that_logs_in(up: str, settings: Settings) -> None:
    link = re.search(r"http://127\.0\.0\.1:\d+/login\?token=\S+", up)
    assert link
    assert "studiolo demo" in up
    answer = httpx.get(link[0])
    assert answer.status_code == 303
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]


def test_all_four_services_are_healthy_and_listen_on_loopback_only(up: str, settings: Settings) -> None:
    found = status(settings)
    assert [each["state"] for each in found["services"]] == ["ready"] * 4
    for each in found["services"]:
        assert answers(each["port"])
        listening = [one for one in psutil.Process(each["pid"]).net_connections() if one.status == psutil.CONN_LISTEN]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


def test_mlflow_opens_to_the_token_and_to_the_cookie_of_the_studio_only(up: str, settings: Settings) -> None:
    mlflow, studio = f"http://127.0.0.1:{settings.mlflow_port}", f"http://127.0.0.1:{settings.studio_port}"
    search = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    token = (settings.home / "token").read_text().strip()
    with httpx.Client() as visitor:
        assert visitor.get(mlflow).status_code == 401
        assert visitor.get(search).status_code == 401
        assert visitor.get(search, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        visitor.get(f"{studio}/login", params={"token": token})
        assert visitor.get(search).status_code == 200
        assert "<title>MLflow" in visitor.get(mlflow).text
        assert visitor.get(search, headers={"Host": "evil.test"}).status_code in (403, 421)


def test_a_run_shows_up_in_mlflow_by_itself(up: str, settings: Settings) -> None:
    with Workspace.open(settings=settings) as workspace:
        with workspace.run("flow", name="seen-in-mlflow") as run:
            run.log_metrics({"accuracy": 0.75})
        headers = {"Authorization": f"Bearer {workspace.tokens.local()}"}
    url = f"http://127.0.0.1:{settings.mlflow_port}/api/2.0/mlflow/runs/get?run_id={run.run_id}"
    until(lambda: '"accuracy"' in httpx.get(url, headers=headers).text)


def test_a_service_killed_with_9_comes_back(up: str, settings: Settings) -> None:
    before = status(settings)["services"][1]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: status(settings)["services"][1]["pid"] not in (None, before["pid"]))
    until(lambda: answers(settings.control_port))
    assert status(settings)["services"][1]["restarts"] == 1


def test_up_again_says_that_it_runs_already(up: str, settings: Settings) -> None:
    done = studiolo(settings, "up", "--detach")
    assert done.returncode == 0
    assert "running already" in done.stderr
    assert "/login?token=" in done.stdout


def test_the_doctor_knows_that_the_ports_are_ours(up: str, settings: Settings) -> None:
    done = studiolo(settings, "doctor", "--json")
    checks = json.loads(done.stdout)
    assert done.returncode == 0, checks
    ports = [each for each in checks if each["name"].startswith("port ")]
    assert [each["status"] for each in ports] == ["ok"] * 4


def test_a_supervisor_killed_with_9_leaves_nothing(up: str, settings: Settings) -> None:
    supervisor, *services = processes(settings.home)
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not any(is_alive(each) for each in services))
    assert status(settings)["running"] is False
