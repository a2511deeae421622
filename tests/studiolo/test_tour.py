"""The README's tour, executed as it is printed, by a newcomer on a fresh workspace with the studio running."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

README = Path(__file__).parents[2] / "README.md"
TOUR = README.read_text().split("## A tour in five minutes")[1].split("\n## ")[0]
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", TOUR, re.S) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", TOUR, re.S)

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder and an environment in which `studiolo up` runs."""
    folder = tmp_path_factory.mktemp("newcomer")
    ports = dict(zip(("GATEWAY", "CONTROL", "STUDIO", "MLFLOW"), map(str, free_ports(4)), strict=True))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STUDIOLO_")}
    environment |= {f"STUDIOLO_{name}_PORT": port for name, port in ports.items()}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["NO_COLOR"] = "1"
    up = run("studiolo up --detach", folder, environment)
    assert up.returncode == 0, up.stdout + up.stderr
    assert "/login?token=" in up.stdout
    yield folder, environment
    down = run("studiolo down", folder, environment)
    assert down.returncode == 0, down.stdout + down.stderr


def run(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def test_every_command_of_the_tour_succeeds(newcomer: tuple[Path, dict[str, str]]) -> None:
    folder, environment = newcomer
    assert len(COMMANDS) >= 10
    said = {}
    for command in COMMANDS:
        done = run(command, folder, environment)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout
    answer = json.loads(next(text for command, text in said.items() if "flow test" in command))
    assert answer["answer"]
    lineage = next(text for command, text in said.items() if "lineage" in command)
    assert "model smollm2-135m-instruct" in lineage
    assert "questions" in lineage
    page = (folder / "reports" / "report.html").read_text()
    assert "95 %" in page or "95%" in page
    suite = ElementTree.parse(folder / "reports" / "junit.xml").getroot()  # noqa: S314 - our own file
    assert int(next(suite.iter("testsuite")).attrib["tests"]) >= 40
    assert "\n## " in (folder / "reports" / "report.md").read_text()
    assert "56" in (folder / "mine.md").read_text()


def test_the_python_of_the_tour_prints_an_answer(newcomer: tuple[Path, dict[str, str]]) -> None:
    folder, environment = newcomer
    assert PYTHON
    for block in PYTHON:
        block = block.replace("127.0.0.1:8400", f"127.0.0.1:{environment['STUDIOLO_GATEWAY_PORT']}")
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
