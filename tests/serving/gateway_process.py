"""A gateway as a process of its own, over a workspace in which a person begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving import replicas
from workspace.home import Workspace
from workspace.settings import Settings


@contextmanager
def gateway_over(
    models: Workspace, folder: Path, *, port: int = 0, environment: Mapping[str, str] = os.environ
) -> Iterator[int]:
    """Make the workspace `.studiolo` in a folder with the models of another, serve it, and give the port."""
    home = folder / ".studiolo"
    with Workspace.open(settings=Settings(home=home)) as workspace:
        for asset in models.assets.list("model"):
            workspace.assets.put("model", asset.name, models.assets.path(asset), properties=asset.properties)
    command = [sys.executable, "-P", "-m", "serving.gateway", "--home", str(home), "--port", str(port)]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, stdin=subprocess.DEVNULL)
    try:
        record = home / "services" / "gateway.json"
        while not record.exists():
            assert process.poll() is None, (folder / "gateway.log").read_text()
            time.sleep(0.05)
        yield json.loads(record.read_text())["port"]
    finally:
        process.terminate()
        process.wait(60)
        replicas.stop_all(home)
