"""`studiolo index`: a folder is made an index, asked, listed and deleted, as docs/rag.md prints it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("chromadb", reason="chromadb is not installed")

from studiolo.cli import app
from workspace import Workspace
from workspace.errors import Invalid, NotFound, PartialFailure

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "rag.md").read_text()
COMMANDS = [
    line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


@pytest.fixture
def documents(model_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's documents in a folder of one's own, and a home where the models are."""
    monkeypatch.setenv("STUDIOLO_HOME", str(model_workspace.home))
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "documents"
    shutil.copytree(ROOT / "examples" / "flows" / "ask-documents" / "documents", made)
    return made


def say(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["index", *arguments], env={"NO_COLOR": "1"}, catch_exceptions=False)


def test_the_commands_of_the_guide_work(documents: Path, model_workspace: Workspace) -> None:
    assert documents.exists()
    name = "guide"  # another test's index is called handbook
    said = [say(*shlex.split(command.replace("handbook", name))[2:]) for command in COMMANDS]
    assert "guide: 4 files" in said[0].stdout
    assert "4 read, 0 unchanged" in said[0].stdout
    assert "next: studiolo index query guide" in said[0].stderr
    assert "1. time-off.md:5  Time off > Vacation" in said[1].stdout
    assert "28 vacation days" in said[1].stdout
    assert "all-minilm-l6-v2" in said[2].stdout
    assert "is deleted" in say("delete", name, "--yes").stderr
    with pytest.raises(NotFound, match="no index 'guide'"):
        say("query", name, "anything")
    assert model_workspace.home.exists()


def test_a_file_that_cannot_be_read_is_told_after_the_rest_are_in(documents: Path) -> None:
    (documents / "torn.pdf").write_bytes(b"%PDF-1.4 torn")
    with pytest.raises(PartialFailure, match="1 of 5 files cannot be read"):
        say("create", "torn", "documents")
    found = json.loads(say("query", "torn", "Where do bicycles go?", "--source", "office.txt", "--json").stdout)
    assert {each["source"] for each in found} == {"office.txt"}
    assert {each["name"]: each["files"] for each in json.loads(say("list", "--json").stdout)}["torn"] == 4
    again = say("create", "torn", "documents", "--include", "*.md", "--include", "*.txt")
    assert "torn: 2 files" in again.stdout
    assert "2 unchanged, 2 gone" in again.stdout


def test_nobody_is_asked_is_no_yes(documents: Path) -> None:
    say("create", "kept", str(documents / "office.txt"), "--unit", "tokens", "--chunk-size", "40", "--overlap", "0")
    with pytest.raises(Invalid, match="nothing was deleted"):
        CliRunner().invoke(app, ["index", "delete", "kept"], input="n\n", catch_exceptions=False)
    assert "kept" in say("list").stdout
