from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studiolo.cli import app

CONFIG = """description: Greetings
prompts: ["Say {{word}}"]
providers: [openai:chat:demo]
tests:
  - {vars: {word: Hello}, assert: [{type: contains, value: Hello}]}
  - {vars: {word: Bye}, assert: [{type: contains, value: Bye}]}
sharing: true
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / ".studiolo"))
    (tmp_path / "promptfooconfig.yaml").write_text(CONFIG)
    return tmp_path


def test_a_promptfoo_configuration_is_imported_and_run(folder: Path, answering: str) -> None:
    made = CliRunner().invoke(app, ["eval", "import", "promptfooconfig.yaml", "--to", "mine"])
    assert made.exit_code == 0, made.output
    assert "2 tests, 1 tasks in mine" in made.output
    assert "`sharing` is not taken over" in made.output
    ran = CliRunner().invoke(app, ["eval", "run", "mine/Greetings.yaml", "--target", f"{answering}#m", "--json"])
    assert ran.exit_code == 0, ran.output
    [metric] = json.loads(ran.stdout)["metrics"]
    assert (metric["name"], metric["interval"]["estimate"]) == ("promptfoo", 0.5)


def test_nothing_is_written_over(folder: Path) -> None:
    (folder / "evals").mkdir()
    (folder / "evals" / "rows.jsonl").write_text("mine\n")
    made = CliRunner().invoke(app, ["eval", "import", "promptfooconfig.yaml"])
    assert made.exit_code == 1
    assert (folder / "evals" / "rows.jsonl").read_text() == "mine\n"


def test_an_address_without_a_model_is_refused(folder: Path) -> None:
    told = CliRunner().invoke(app, ["eval", "inspect", "x.py", "--model", "http://127.0.0.1:9/v1"])
    assert told.exit_code == 1
    assert "names no model" in str(told.exception)
