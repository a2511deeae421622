"""docs/pipelines.md as it is printed: its file written, its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/pipelines.md").read_text(encoding="utf-8")
FILE = re.compile(r"# ([\w./-]+\.yml)\n")


def test_what_the_guide_to_pipelines_says_to_type_succeeds(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"NO_COLOR": "1", "PATH": path, "STUDIOLO_HOME": str(tmp_path / "home")}
    said = ""
    for kind, text in re.findall(r"```(console|yaml)\n(.*?)```", PAGE, re.S):
        if named := FILE.match(text):
            (tmp_path / named[1]).write_text(text)
            continue
        assert kind == "console", text
        lines = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
        ran = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        said += ran.stdout
    assert "count-1_clean" in said
    assert "step 'count' runs as job count-1_count" in said


@pytest.mark.slow
def test_one_step_runs_in_the_foreground_by_the_command(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"NO_COLOR": "1", "PATH": path, "STUDIOLO_HOME": str(tmp_path / "home")}
    (tmp_path / "p.yml").write_text(
        "type: pipeline\njobs:\n  a: {command: 'echo row > ${{outputs.o}}/r', outputs: {o: {}}}\n"
        "  b: {command: 'cat ${{inputs.o}}/r; exit 9', inputs: {o: '${{parent.jobs.a.outputs.o}}'}}\n"
    )
    line = ["studiolo", "job", "create", "-f", "p.yml", "--debug", "b"]
    ran = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (9, "row\n"), ran.stderr
