"""A document's parts: the text under one heading, or of one page, and where in the file it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document, without its heading. `heading` is the way to it, "Guide > Install"; lines count from 1.

    `lines` are the file's lines of the text's lines where they do not simply follow on from `line`, as in HTML.
    """

    text: str
    heading: str = ""
    line: int | None = None
    page: int | None = None
    lines: tuple[int, ...] = ()

    def line_of(self, row: int) -> int | None:
        """Return the file's line of a line of the text; the first is row 0."""
        if self.lines:
            return self.lines[row]
        return None if self.line is None else self.line + row


class Headings:
    """The headings above a text while a document is read from its beginning."""

    def __init__(self) -> None:
        self._trail: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> None:
        """Pass a heading: it ends those of its level and below."""
        self._trail = [each for each in self._trail if each[0] < level] + [(level, title)]

    @property
    def way(self) -> str:
        """Return the way to here: "Guide > Install"."""
        return " > ".join(title for _, title in self._trail if title)
