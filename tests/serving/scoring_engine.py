"""The engine of a scoring deployment, started as the gateway starts it, for the tests that speak to it directly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serving.endpoints import Deployment
from serving.engines.launches import kind
from workspace.home import Workspace


@contextmanager
def engine(workspace: Workspace, deployment: Deployment) -> Iterator[httpx.Client]:
    """Start the engine of a deployment as the gateway does, and speak to it."""
    launch = kind(deployment.engine).launch(workspace, deployment)
    path = workspace.home / "services" / "e.sock"
    log = workspace.home / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*launch.command, "--socket", str(path)],
            cwd=workspace.home,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **launch.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://engine", timeout=30) as client:
            deadline = time.monotonic() + 60
            while not _ready(client):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield client
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
