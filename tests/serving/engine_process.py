"""The torch engine as a process of its own, as the gateway starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from workspace import Workspace


@contextmanager
def engine(workspace: Workspace, model: str, task: str, folder: Path) -> Iterator[httpx.Client]:
    """Serve a model of the workspace and give a client that speaks to it over its socket."""
    path = workspace.assets.path(workspace.assets.get("model", model))
    socket = folder / "engine.sock"
    command = [sys.executable, "-m", "serving.engines.torch", "--model", str(path), "--name", model, "--task", task]
    command += ["--socket", str(socket), "--dtype", "float32"]
    variables = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(command, env=variables)
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine", timeout=100)
    try:
        until(lambda: process.poll() is not None or _is_up(client))
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(timeout=20)


def until(true: Callable[[], bool], *, seconds: float = 100) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False
