"""Documents as sections: the text under one heading, or of one page, and where in the file it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workspace.errors import Invalid, MissingExtra

LARGEST = 50_000_000  # bytes
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_SKIPPED = ("script", "style", "noscript", "template", "nav", "footer", "svg", "head")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = (
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure", "form", "hr",
    "li", "main", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul",
)  # fmt: skip
_BREAK = "\ue000"  # stands for the end of a line until white space has been put in order


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document, without its heading. `heading` is the way to it, "Guide > Install"; lines count from 1."""

    text: str
    heading: str = ""
    line: int | None = None
    page: int | None = None


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
    trail: list[tuple[int, str]] = []
    fence = ""
    begun, kept = first, list[str]()
    for number, line in enumerate(lines[first:], first):
        found = None if fence else _HEADING.match(line)
        if found is None:
            fence = _fence(line, fence)
            kept.append(line)
            continue
        yield Section("\n".join(kept), _way(trail), begun + 1)
        level = len(found[1])
        trail = [each for each in trail if each[0] < level] + [(level, found[2])]
        begun, kept = number + 1, []
    yield Section("\n".join(kept), _way(trail), begun + 1)


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


def _way(trail: list[tuple[int, str]]) -> str:
    return " > ".join(text for _, text in trail)


def _html(path: Path) -> Iterator[Section]:
    try:
        from bs4 import BeautifulSoup
        from bs4.element import NavigableString, PreformattedString, Tag
    except ImportError:
        raise MissingExtra("reading HTML needs beautifulsoup4", hint="pip install 'studiolo[rag]'") from None
    soup = BeautifulSoup(path.read_bytes(), "html.parser")
    for each in soup(_SKIPPED):
        each.decompose()
    for each in soup([*_HEADINGS, *_BLOCKS]):
        each.insert_before(_BREAK)
        each.append(_BREAK)
    trail: list[tuple[int, str]] = []
    kept, line = list[str](), 1
    for element in soup.descendants:
        if isinstance(element, Tag) and element.name in _HEADINGS:
            yield Section(_tidy(kept), _way(trail), line)
            level, title = int(element.name[1]), " ".join(element.get_text(" ").replace(_BREAK, " ").split())
            trail = [each for each in trail if each[0] < level] + [(level, title)]
            kept, line = [], element.sourceline or line
        elif isinstance(element, NavigableString) and not isinstance(element, PreformattedString):
            if element.find_parent(_HEADINGS):
                continue
            kept.append(str(element) if element.find_parent("pre") else re.sub(r"\s+", " ", str(element)))
    yield Section(_tidy(kept), _way(trail), line)


def _tidy(pieces: list[str]) -> str:
    lines = [line.rstrip() for line in "".join(pieces).replace(_BREAK, "\n").splitlines()]
    text = "\n".join(line if line.startswith("  ") else line.strip() for line in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _pdf(path: Path) -> Iterator[Section]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError:
        raise MissingExtra("reading PDF needs pypdf", hint="pip install 'studiolo[rag]'") from None
    try:
        with path.open("rb") as file:
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise Invalid("it is locked with a password")
            for number, page in enumerate(reader.pages, 1):
                yield Section(page.extract_text(), page=number)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid(f"no PDF that can be read: {error}") from error


def _decoded(path: Path) -> str:
    raw = path.read_bytes()
    if b"\0" in raw[:8192]:
        raise Invalid("it is no text")
    return raw.decode("utf-8-sig", "replace")


READERS: dict[str, Callable[[Path], Iterator[Section]]] = {
    ".md": _markdown, ".markdown": _markdown, ".mdx": _markdown, ".txt": _text, ".rst": _text,
    ".html": _html, ".htm": _html, ".pdf": _pdf,
}  # fmt: skip
