"""The schemas of job files: they are schemas, up to date, and take what the readers take."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.files.record import keys_of
from jobs.schemas import SCHEMAS
from tests.jobs import verdicts
from workspace.documents import read_yaml

Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator
ROOT = Path(__file__).parents[2]
SCHEMA_OF = {"connection": "workspace_connection"}


def validator(name: str) -> Any:
    return Draft202012Validator(json.loads((SCHEMAS.folder / SCHEMAS.file_name(name)).read_text()))


def schema_of(kind: str, root: Any) -> str:
    if kind not in ("job", "component"):
        return SCHEMA_OF.get(kind, kind)
    return f"{kind}.{root.get('type', 'command')}"


def accepted() -> list[Any]:
    said = json.loads(verdicts.RECORDED.read_text())["files"]
    return [
        pytest.param(kind, path, id=verdicts.name(path))
        for kind, path in verdicts.files()
        if said[verdicts.name(path)] is None and not path.name.startswith("missed_")
    ]


@pytest.mark.parametrize("name", SCHEMAS.made_by)
def test_a_schema_is_one_and_its_files_are_up_to_date(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS.schema(name))
    for folder in (SCHEMAS.folder, ROOT / "docs" / "schemas"):
        written = (folder / SCHEMAS.file_name(name)).read_text(encoding="utf-8")
        assert written == SCHEMAS.text(name), "run `python docs/write_SCHEMAS.py`"


@pytest.mark.parametrize(("kind", "path"), accepted())
def test_what_is_read_is_right_by_its_schema(kind: str, path: Path) -> None:
    root = read_yaml(path).root
    found = validator(schema_of(kind, root))
    # Words are read in any case and as CamelCase, and an editor offers them as they are written.
    problems = [
        each for each in found.iter_errors(root) if not _is_about_a_word(each) and not _is_about_a_word_inside(each)
    ]
    assert [f"{each.json_path}: {each.message[:200]}" for each in problems] == []


@pytest.mark.parametrize(
    ("name", "root", "where"),
    [
        ("job.command", {"command": "echo", "enviroment": "azureml:e:1"}, "enviroment"),
        ("job.command", {"environment": "azureml:e:1"}, "command"),
        ("job.command", {"command": "echo", "environment": "azureml:e:1", "limits": {"timeout": []}}, "timeout"),
        ("job.sweep", {"type": "sweep", "trial": {"command": "echo", "environment": "azureml:e:1"}}, "objective"),
        ("schedule", {"name": "a", "trigger": {"type": "cron"}}, "trigger"),
        ("compute", {"name": "a", "type": "gpu"}, "gpu"),
    ],
)
def test_what_is_refused_is_wrong_by_its_schema(name: str, root: Any, where: str) -> None:
    assert any(where in f"{each.json_path} {each.message}" for each in validator(name).iter_errors(root))


def test_an_editor_is_told_what_keys_are_for() -> None:
    command = SCHEMAS.schema("job.command")["$defs"]["command.CommandJob"]
    from jobs.files.command import CommandJob

    assert set(keys_of(CommandJob)) <= set(command["properties"])
    assert command["required"] == ["command"]
    assert "bash" in command["properties"]["command"]["description"]
    assert "Has no effect here" in command["properties"]["services"]["description"]


def _is_about_a_word(error: Any) -> bool:
    return error.validator == "enum" and isinstance(error.instance, str) and not error.context


def _is_about_a_word_inside(error: Any) -> bool:
    inside = error.context or ()
    return any(_is_about_a_word(each) or _is_about_a_word_inside(each) for each in inside)
