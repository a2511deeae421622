"""docs/commands.md is what the command line says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_commands_is_up_to_date() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import write_commands; print(write_commands.page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(DOCS)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == (DOCS / "commands.md").read_text(encoding="utf-8"), "run `make docs`"
