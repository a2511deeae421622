"""docs/job-files.md is what the code says, and what it says has no effect is told."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from jobs.files import read
from tests.jobs import verdicts
from workspace.errors import Invalid

ROOT = Path(__file__).parents[2]


@cache
def writer() -> Any:
    spec = importlib.util.spec_from_file_location("write_job_files", ROOT / "docs" / "write_job_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def told() -> frozenset[str]:
    """What the files of the corpus are told of keys that do nothing here."""
    found: set[str] = set()
    for kind, path in verdicts.files():
        try:
            found |= {each.what for each in read(kind, path).findings if each.weight == "note"}
        except Invalid:
            continue
    return frozenset(found)


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "job-files.md").read_text() == writer().page(), "run `make docs`"


@pytest.mark.parametrize(("key", "why"), sorted(writer().without_effect()))
def test_a_key_without_an_effect_is_told_in_one_line_where_it_is_used(key: str, why: str) -> None:
    assert f"`{key}` has no effect here: {why}" in told()


def test_nothing_is_told_that_the_page_does_not_list() -> None:
    assert told() == {f"`{key}` has no effect here: {why}" for key, why in writer().without_effect()}
