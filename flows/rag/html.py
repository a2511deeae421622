"""HTML as sections: what people read of a page, by its headings, each line knowing its line in the file.

The page is cut into tags and text here: the time it takes grows with its length alone, however broken it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

from flows.rag.sections import Headings, Section

_HIDDEN = {"script", "style", "title", "noscript", "template", "nav", "footer", "svg"}
_RAW = {"script", "style", "title", "noscript", "template"}  # no tag but their own end is seen inside
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "figcaption", "figure", "form",
    "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
}  # fmt: skip
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]{0,50})")
_SPACE = re.compile(r"\s+")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A tag by its name, in lower case, or text where there is none; `line` is where it begins."""

    line: int
    tag: str = ""
    closes: bool = False
    text: str = ""


def sections(raw: bytes) -> Iterator[Section]:
    """Yield the sections of a page in order."""
    page = _Page()
    hidden, depth = "", 0
    for piece in _pieces(_decoded(raw)):
        if hidden:
            depth += (-1 if piece.closes else 1) * (piece.tag == hidden)
            hidden = hidden if depth else ""
        elif piece.tag in _HIDDEN:
            hidden, depth = ("", 0) if piece.closes else (piece.tag, 1)
        elif piece.tag in _HEADINGS and not piece.closes:
            yield page.end_section(piece.line)
            page.level = int(piece.tag[1])
        else:
            page.take(piece)
    yield page.end_section(0)


def _pieces(text: str) -> Iterator[_Piece]:
    """Yield a page's tags and texts; what is begun and never ended is left out, as browsers do."""
    at, line = 0, 1
    while at < len(text):
        tag = _TAG.match(text, at)
        end = _end(text, at, tag)
        if tag:
            name = tag[2].lower()
            yield _Piece(line, name, bool(tag[1]))
            if name in _RAW and not tag[1]:
                closing = re.compile(f"</{name}", re.IGNORECASE).search(text, end)
                end = closing.start() if closing else len(text)
        elif not text.startswith(("<!", "<?"), at):
            yield _Piece(line, text=unescape(text[at:end]))
        line += text.count("\n", at, end)
        at = end


def _end(text: str, at: int, tag: re.Match[str] | None) -> int:
    """Return where the tag, the comment or the text at a place ends."""
    if tag:
        end = first = text.find(">", at) + 1
        for _ in range(8):  # a ">" in quotes does not end a tag
            if not end or text.count('"', at, end) % 2 == 0:
                return end or len(text)
            end = text.find(">", end) + 1
        return first
    if text.startswith("<!--", at):
        end = text.find("-->", at + 4)
        return len(text) if end < 0 else end + 3
    if text.startswith(("<!", "<?"), at):
        return text.find(">", at) + 1 or len(text)
    end = text.find("<", at + 1)
    return len(text) if end < 0 else end


class _Page:
    """Collects rows of text until a heading begins, then makes them a section."""

    def __init__(self) -> None:
        self.level = 0  # of the heading that is open
        self._headings = Headings()
        self._begun = 1
        self._rows: list[tuple[str, int]] = []
        self._row: list[str] = []
        self._row_line = 0  # where the row's first word stands, 0 before it
        self._pre = 0

    def take(self, piece: _Piece) -> None:
        """Add a text, or see what a tag does to the rows."""
        if piece.text:
            self._add(piece.text, piece.line)
        elif piece.tag in _HEADINGS:
            self._end_heading()
        elif piece.tag == "br":
            self._end_row()
        elif piece.tag in _BLOCKS:
            self._end_block()
            if piece.tag == "pre":
                self._pre = max(0, self._pre + (-1 if piece.closes else 1))

    def end_section(self, line: int) -> Section:
        """Return what has been collected; `line` is where the next section begins."""
        self._end_heading()
        self._end_block()
        while self._rows and not self._rows[-1][0]:
            self._rows.pop()
        lines = tuple(at for _, at in self._rows)
        made = Section("\n".join(row for row, _ in self._rows), self._headings.way, self._begun, lines=lines)
        self._rows, self._begun = [], line
        return made

    def _end_heading(self) -> None:
        if self.level:
            self._end_row()
            self._headings.enter(self.level, " ".join(row for row, _ in self._rows if row))
            self._rows, self.level = [], 0

    def _add(self, text: str, line: int) -> None:
        first, *others = text.split("\n") if self._pre else [text]
        self._put(first, line)
        for number, other in enumerate(others, line + 1):
            self._end_row()
            self._put(other, number)

    def _put(self, text: str, line: int) -> None:
        if not self._row_line and (self._pre or text.strip()):
            self._row_line = line + text[: len(text) - len(text.lstrip())].count("\n")
        self._row.append(text)

    def _end_row(self) -> None:
        row = "".join(self._row)
        row = row.rstrip() if self._pre else _SPACE.sub(" ", row).strip()
        if row or (self._pre and self._row_line):
            self._rows.append((row, self._row_line))
        self._row, self._row_line = [], 0

    def _end_block(self) -> None:
        self._end_row()
        if self._rows and self._rows[-1][0]:
            self._rows.append(("", self._rows[-1][1]))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        named = _CHARSET.search(raw[:4096])
        try:
            return raw.decode(named[1].decode() if named else "windows-1252", "replace")
        except LookupError:
            return raw.decode("windows-1252", "replace")
