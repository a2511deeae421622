"""Plain values of what was read: the same again when they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.files import component_of, job_of, read
from jobs.files.plain import plain
from tests.jobs import verdicts


def accepted() -> list[Any]:
    said = json.loads(verdicts.RECORDED.read_text())["files"]
    return [
        pytest.param(kind, path, id=verdicts.name(path))
        for kind, path in verdicts.files()
        if kind in ("job", "component") and said[verdicts.name(path)] is None and "missed" not in path.name
    ]


@pytest.mark.parametrize(("kind", "path"), accepted())
def test_plain_values_are_read_as_the_file_was(kind: str, path: Path, tmp_path: Path) -> None:
    found = read(kind, path)
    values = json.loads(json.dumps(plain(found)))
    # From elsewhere: files that it names are in it, and paths are absolute.
    again = (job_of if kind == "job" else component_of)(values, tmp_path)
    assert type(again) is type(found)
    assert plain(again) == plain(found)
