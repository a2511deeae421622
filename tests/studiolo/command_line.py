"""The command line as tests type it: in this process, with what a person would see and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from typer.testing import CliRunner

from studiolo.arguments import spread
from studiolo.cli import app
from workspace.errors import StudioloError


@dataclass(frozen=True, slots=True)
class Said:
    """What a command has printed."""

    stdout: str
    stderr: str


Say = Callable[..., Said]


def typed(*arguments: str, code: int = 0) -> Said:
    """Run a command and return what it printed; it must end with this exit code."""
    done = CliRunner().invoke(app, spread(list(arguments)), env={"NO_COLOR": "1"})
    problem, stderr, ended = done.exception, done.stderr, done.exit_code
    if isinstance(problem, StudioloError):
        stderr, ended = f"{stderr}error: {problem}\nhint: {problem.hint}\n", problem.exit_code
    elif problem is not None and not isinstance(problem, SystemExit):
        raise problem
    assert ended == code, stderr
    return Said(done.stdout, stderr)
