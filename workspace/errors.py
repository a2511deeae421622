"""The one tree of errors: what happened, where, and what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file a person wrote; lines and columns count from 1."""

    path: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class StudioloError(Exception):
    """Something the person can act on: the edges print it as one line and a hint, never a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, at: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.at = at

    def __str__(self) -> str:
        return f"{self.at}: {self.message}" if self.at else self.message


class Invalid(StudioloError):
    """What was given cannot be right: a file, a value, a combination."""


class NotFound(StudioloError):
    """A named thing does not exist here."""


class Conflict(StudioloError):
    """The thing exists already, or somebody else changed it first."""


class Unavailable(StudioloError):
    """A service, port, disk or peer that is needed does not answer; trying later may help."""


class Damaged(Unavailable):
    """The content of a database file is damaged, or is not that of a database."""


class Denied(StudioloError):
    """The token is missing, wrong or not allowed to do this."""


class MissingExtra(StudioloError):
    """An optional package is needed; the hint is the command that installs it."""


class PartialFailure(StudioloError):
    """The work ended and is kept, but some rows failed."""

    exit_code = 3


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint naming the closest known word, else the known words, else nothing.

    >>> did_you_mean("inptus", ["inputs", "outputs"])
    "did you mean 'inputs'?"
    """
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(words)}" if words else None
