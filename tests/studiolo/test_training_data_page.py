"""docs/training-data.md as it is printed: its commands run, one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.finetune.tiny_models import tiny_chat
from workspace import Settings, Workspace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/training-data.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_all_that_the_guide_to_training_data_says_to_type_succeeds(tmp_path: Path) -> None:
    with Workspace.open(settings=Settings(home=tmp_path / ".studiolo")) as studio:
        studio.assets.put("model", "smollm2-135m-instruct", tiny_chat(tmp_path / "tiny"), properties={"task": "chat"})
    environment = os.environ | {
        "NO_COLOR": "1", "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.S)
    for text in blocks:
        lines = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
        ran = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"
        assert "2 rows read as instruction" in ran.stdout
    assert len(blocks) == 2
    assert (tmp_path / "clean.jsonl").read_text().count("\n") == 2
    assert "<mark" in (tmp_path / "rows.html").read_text()


def test_the_guide_names_every_form_of_rows() -> None:
    from finetune.data.formats import FORMS

    table = re.findall(r"^\| ([a-z]+) \| `", PAGE, re.M)
    assert sorted(table[: len(FORMS)]) == sorted(FORMS)
