"""The gateway as a process: its record, its port, its ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from openai import OpenAI

from serving import replicas, service
from serving.local import Gateway, local_gateway
from workspace.home import Workspace

EMBEDDER = "all-minilm-l6-v2"
CHAT = "smollm2-135m-instruct"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Start]:
    """Start gateway processes of the workspace and end them after the test."""
    started = []

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serving.gateway", "--home", str(workspace.home), *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def standing(workspace: Workspace) -> service.Record:
    """Wait for the shared gateway."""
    deadline = time.monotonic() + 30
    while not (found := service.running(workspace.home)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def healthy(record: service.Record) -> bool:
    return httpx.get(f"http://127.0.0.1:{record.port}/health", timeout=10).status_code == 200


def test_a_gateway_leaves_a_private_record_and_removes_it_on_sigterm(workspace: Workspace, start: Start) -> None:
    process = start("--port", "0")
    record = standing(workspace)
    path = workspace.home / "services" / "gateway.json"
    assert record.pid == process.pid
    assert healthy(record)
    assert path.stat().st_mode & 0o777 == 0o600
    process.terminate()
    assert process.wait(10) == 0
    assert not path.exists()


def test_a_killed_gateway_does_not_stand_in_the_way_of_the_next(workspace: Workspace, start: Start) -> None:
    start("--port", "0")
    first = standing(workspace)
    os.kill(first.pid, signal.SIGKILL)
    while service.running(workspace.home):
        time.sleep(0.02)
    start("--port", str(first.port))
    assert healthy(standing(workspace))


def test_a_second_shared_gateway_is_refused(workspace: Workspace, start: Start) -> None:
    start("--port", "0")
    port = standing(workspace).port
    second = start("--port", "0")
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"has a gateway already, on port {port}" in errors.decode()


def test_a_port_in_use_is_one_line_and_a_hint(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    message, hint = errors.decode().splitlines()
    assert message == f"port {port} is in use"
    assert "STUDIOLO_GATEWAY_PORT" in hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1"])  # noqa: S104
def test_an_address_that_others_could_reach_is_refused(start: Start, host: str) -> None:
    process = start("--host", host, "--port", "0")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "this machine only" in errors.decode()


def test_the_running_gateway_is_used_when_there_is_one(workspace: Workspace, start: Start) -> None:
    start("--port", "0")
    record = standing(workspace)
    with local_gateway(workspace) as gateway:
        assert gateway == Gateway(f"http://127.0.0.1:{record.port}/v1", workspace.tokens.local())
    assert record.alive


def test_a_private_gateway_stands_for_the_block_only(workspace: Workspace) -> None:
    with local_gateway(workspace) as gateway:
        url = gateway.base_url.removesuffix("/v1") + "/health"
        assert httpx.get(url).status_code == 200
        assert service.running(workspace.home) is None  # nobody else is to count on it
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert list((workspace.home / "services").glob("gateway*.json")) == []


def test_a_private_gateway_ends_when_its_caller_is_killed(workspace: Workspace) -> None:
    program = (
        "import sys, time; from serving.local import local_gateway; from workspace.home import Workspace\n"
        "with Workspace.open(sys.argv[1]) as w, local_gateway(w) as g: print(g.base_url, flush=True); time.sleep(60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", program, str(workspace.home)], stdout=subprocess.PIPE, text=True)
    assert caller.stdout
    url = caller.stdout.readline().strip().removesuffix("/v1") + "/health"
    assert httpx.get(url).status_code == 200
    caller.kill()
    caller.communicate()
    deadline = time.monotonic() + 10
    while list((workspace.home / "services").glob("gateway*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.model
def test_the_next_gateway_adopts_the_engines_and_leaves_them_to_the_first(
    gateway: Gateway, model_workspace: Workspace
) -> None:
    def ask(where: Gateway) -> int:
        with OpenAI(base_url=where.base_url, api_key=where.token) as client:
            client.embeddings.create(model=EMBEDDER, input="hello")
        [pid] = [each.pid for each in replicas.living(model_workspace.home) if EMBEDDER in each.model]
        return pid

    before = ask(gateway)
    with local_gateway(model_workspace) as second:
        assert ask(second) == before
    assert ask(gateway) == before


@pytest.mark.model
def test_sigterm_lets_a_stream_end_that_has_begun(model_workspace: Workspace, gateway: Gateway) -> None:
    command = [sys.executable, "-m", "serving.gateway", "--home", str(model_workspace.home), "--port", "0", "--private"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    port = json.loads(process.stdout.readline())["port"]
    with OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=gateway.token, max_retries=0) as client:
        stream = client.chat.completions.create(
            model=CHAT,
            messages=[{"role": "user", "content": "Tell a story."}],
            max_tokens=60,
            temperature=0,
            stream=True,
        )
        chunks = [next(stream)]
        process.send_signal(signal.SIGTERM)
        chunks += list(stream)
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert process.wait(10) == 0
    process.communicate()
