"""Documents read as sections: Markdown, text, HTML and PDF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.rag import html
from flows.rag.sections import Headings, Section
from workspace.errors import Invalid, MissingExtra, StudioloError

LARGEST = 50_000_000  # bytes
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_CLOSING = re.compile(r"(?:^|(?<=\s))#+$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


def read(path: Path) -> list[Section]:
    """Return the sections of a document that say anything; raises Invalid where it cannot be read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Invalid(f"no reader for {path.suffix or 'a file without a suffix'}", hint=f"one of {' '.join(READERS)}")
    if path.stat().st_size > LARGEST:
        raise Invalid(f"larger than {LARGEST // 1_000_000} MB")
    return [section for section in reader(path) if section.text.strip()]


def _text(path: Path) -> Iterator[Section]:
    yield Section(_decoded(path), line=1)


def _markdown(path: Path) -> Iterator[Section]:
    lines = _decoded(path).splitlines()
    first = _after_front_matter(lines)
    headings = Headings()
    fence = ""
    begun, kept = first, list[str]()
    for number, line in enumerate(lines[first:], first):
        found = None if fence else _HEADING.match(line)
        if found is None:
            fence = _fence(line, fence)
            kept.append(line)
            continue
        yield Section("\n".join(kept), headings.way, begun + 1)
        headings.enter(len(found[1]), _CLOSING.sub("", (found[2] or "").strip()).strip())
        begun, kept = number + 1, []
    yield Section("\n".join(kept), headings.way, begun + 1)


def _fence(line: str, fence: str) -> str:
    """Return the fence in which the next line stands, "" outside of code."""
    found = _FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found[1]
    closes = found[1][0] == fence[0] and len(found[1]) >= len(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _after_front_matter(lines: list[str]) -> int:
    if not lines or lines[0].strip() != "---":
        return 0
    return next((number for number, line in enumerate(lines[1:], 2) if line.strip() == "---"), 0)


def _html(path: Path) -> Iterator[Section]:
    return html.sections(path.read_bytes())


def _pdf(path: Path) -> Iterator[Section]:
    try:
        from pypdf import PdfReader
    except ImportError:
        raise MissingExtra("reading PDF needs pypdf", hint="pip install 'studiolo[rag]'") from None
    try:
        with path.open("rb") as file:
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise Invalid("it is locked with a password")
            for number, page in enumerate(reader.pages, 1):
                yield Section(page.extract_text(), page=number)
    except StudioloError:
        raise
    except Exception as error:  # what a torn file makes a parser stumble over is told of the file, whatever it is
        raise Invalid(f"no PDF that can be read: {error or type(error).__name__}") from error


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    if b"\0" in raw[:8192]:
        raise Invalid("it is no text")
    return raw.decode("utf-8-sig", "replace")


READERS: dict[str, Callable[[Path], Iterator[Section]]] = {
    ".md": _markdown, ".markdown": _markdown, ".mdx": _markdown, ".txt": _text, ".rst": _text,
    ".html": _html, ".htm": _html, ".pdf": _pdf,
}  # fmt: skip
