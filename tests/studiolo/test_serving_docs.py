"""docs/serving.md as it is printed: its files written, its commands and programs run, one after another."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.serving.gateway_process import gateway_over
from workspace.home import Workspace

GUIDE = Path(__file__).parents[2] / "docs" / "serving.md"
BLOCKS = re.findall(r"```(console|python|yaml)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
FILE = re.compile(r"# ([\w./-]+\.(?:yml|yaml|py))\n")

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]


@pytest.fixture
def reader(model_workspace: Workspace, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder and the environment of somebody who reads the guide, with the gateway that `studiolo up` starts."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    environment = os.environ | {"STUDIOLO_GATEWAY_PORT": port, "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with gateway_over(model_workspace, tmp_path, port=int(port), environment=environment):
        yield tmp_path, environment


def done(kind: str, text: str, folder: Path, environment: dict[str, str]) -> str:
    """Do what a block says: write the file, or run the commands or the program; return what it printed."""
    if named := FILE.match(text):
        path = folder / named[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return ""
    assert kind != "yaml", f"a block of YAML that is no file:\n{text}"
    text = text.replace("127.0.0.1:8400", f"127.0.0.1:{environment['STUDIOLO_GATEWAY_PORT']}")
    if kind == "console":
        text = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
    command = [sys.executable, "-c", text] if kind == "python" else ["/bin/bash", "-euo", "pipefail", "-c", text]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def test_all_that_the_guide_to_serving_says_to_type_succeeds(reader: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reader
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    assert len(BLOCKS) > 20
    said = "\n".join(done(kind, text, folder, environment) for kind, text in BLOCKS)
    for words in ("support/blue", "model smollm2-135m-instruct:1", "studiolo_tokens_total{", "requests/s", "ABORTED"):
        assert words in said
    assert "[3, 7]" in said
    assert "<svg" in (folder / "report.html").read_text()
    kept = [path for path in (folder / ".studiolo" / "modelDataCollector" / "sums").rglob("*.jsonl") if path.is_file()]
    assert {json.loads(path.read_text().splitlines()[0])["specversion"] for path in kept} == {"1.0"}
