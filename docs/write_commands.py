"""Write docs/commands.md: every command with its help, as the command line itself says it."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from studiolo.cli import app

PAGE = Path(__file__).parent / "commands.md"
# A group's help ends in a table of its commands.
COMMANDS = re.compile(r"^[│|] ([a-z][a-z-]*) ", re.MULTILINE)


def help_of(*words: str) -> str:
    """Return the help of one command, in plain text of a fixed width."""
    environment = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = CliRunner().invoke(app, [*words, "--help"], env=environment, prog_name="studiolo", catch_exceptions=False)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def page() -> str:
    """Return the whole page."""
    top = help_of()
    parts = ["# Commands\n\nWritten by `make docs` from the command line's own help.\n", f"```text\n{top}\n```\n"]
    for name in COMMANDS.findall(top):
        text = help_of(name)
        parts.append(f"## studiolo {name}\n\n```text\n{text}\n```\n")
        if "Commands" in text:
            for inner in COMMANDS.findall(text.split("Commands")[1]):
                parts.append(f"### studiolo {name} {inner}\n\n```text\n{help_of(name, inner)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
