"""A gateway for whoever needs one now: the one that runs, or a private one for as long as it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from serving import service
from workspace.errors import Unavailable
from workspace.home import Workspace

_PATIENCE = 45.0  # seconds for a private gateway to drain and stop its engines


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the models of a workspace answer: `OpenAI(base_url=gateway.base_url, api_key=gateway.token)`."""

    base_url: str
    token: str


@contextmanager
def local_gateway(workspace: Workspace) -> Iterator[Gateway]:
    """Give the workspace's gateway; where none runs, start one and end it, and its engines, after the block.

    The private one also ends when this process dies in any way.
    """
    token = workspace.tokens.local()
    if found := service.running(workspace.home):
        yield Gateway(f"http://127.0.0.1:{found.port}/v1", token)
        return
    with _private(workspace) as port:
        yield Gateway(f"http://127.0.0.1:{port}/v1", token)


@contextmanager
def _private(workspace: Workspace) -> Iterator[int]:
    log = workspace.home / "logs" / "gateway-private.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "serving.gateway", "--home", str(workspace.home), "--port", "0", "--private"],
            env=os.environ | workspace.settings.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us: it must not cut the answers we wait for
        )
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        line = stdout.readline()
        if not line:
            process.wait()
            words = log.read_text(errors="replace").strip()
            raise Unavailable(f"the gateway did not start: {words}", hint=f"its log is {log}")
        yield json.loads(line)["port"]
    finally:
        stdin.close()  # tells it to end
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        stdout.close()
