"""docs/data.md as it is printed: its files written, its commands run, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(console|python|yaml)\n(.*?)```", (ROOT / "docs/data.md").read_text(encoding="utf-8"), re.S)
FILE = re.compile(r"# ([\w./-]+)\n")


@pytest.mark.timeout(170)
def test_all_that_the_guide_to_data_says_to_type_succeeds(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "NO_COLOR": "1", "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    said = ""
    for kind, text in BLOCKS:
        if kind != "console":
            named = FILE.match(text)
            assert named, f"a block that is no file and no commands:\n{text}"
            (tmp_path / named[1]).parent.mkdir(exist_ok=True)
            (tmp_path / named[1]).write_text(text)
            continue
        lines = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
        ran = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        said += ran.stdout
    for words in ("LocalUpload", "checked", "\n6\n", "uri_folder", "['Ann', 'Cid']"):
        assert words in said, words
