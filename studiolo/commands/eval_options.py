"""What the commands of `studiolo eval` share."""

from __future__ import annotations

from typing import Annotated

import typer

GATE_FAILED = 3  # the exit code of a comparison that may not pass

AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of words.")]
