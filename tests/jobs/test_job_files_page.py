"""docs/job-files.md is what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("write_job_files", ROOT / "docs" / "write_job_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "job-files.md").read_text() == module.page(), "run `make docs`"
    assert "`command.CommandJob.services`".replace("command.", "") in module.page()
