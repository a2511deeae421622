from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from evals.schemas import SCHEMAS
from tests.evals.test_tasks_files import WHOLE
from workspace.documents import parse_yaml

ROOT = Path(__file__).parents[2]


def test_the_schema_ships_as_it_is_made_and_is_right() -> None:
    Draft202012Validator.check_schema(SCHEMAS.schema("eval.task"))
    for folder in (SCHEMAS.folder, ROOT / "docs" / "schemas"):
        assert (folder / SCHEMAS.file_name("eval.task")).read_text() == SCHEMAS.text("eval.task")


@pytest.mark.parametrize(("text", "is_right"), [(WHOLE, True), (WHOLE + "scorres: []\n", False), ("data: x\n", False)])
def test_it_takes_what_the_reader_takes(text: str, is_right: bool) -> None:
    found = Draft202012Validator(json.loads((SCHEMAS.folder / SCHEMAS.file_name("eval.task")).read_text()))
    assert found.is_valid(parse_yaml(text).root) == is_right
