"""docs/jobs.md as it is printed: its files written, its commands and programs run, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "jobs.md"
BLOCKS = re.findall(r"```(console|python|yaml)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
FILE = re.compile(r"# ([\w./-]+\.(?:yml|yaml|py))\n")


@pytest.mark.timeout(170)
def test_all_that_the_guide_to_jobs_says_to_type_succeeds(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "NO_COLOR": "1", "PYTHONPATH": path, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }  # fmt: skip
    said = ""
    for kind, text in BLOCKS:
        if named := FILE.match(text):
            (tmp_path / named[1]).write_text(text)
            continue
        assert kind == "console", f"a block that is no file and no commands:\n{text}"
        lines = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
        ran = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        said += ran.stdout
    for words in ("Succeeded", "status     Completed", "counted again", "\n15\n", "in Python: 17", "count-1-counted"):
        assert words in said, words
    assert (tmp_path / "kept" / "named-outputs" / "counted" / "lines.txt").read_text().strip() == "3"
