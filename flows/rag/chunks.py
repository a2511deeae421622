"""Sections cut into chunks: pieces that one vector can stand for, each knowing where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flows.rag.sections import Section
from workspace.errors import Invalid, MissingExtra

Unit = Literal["characters", "tokens"]
_SHORTEST: dict[Unit, int] = {"characters": 50, "tokens": 10}


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are cut: at most `size` characters or tokens, `overlap` of them shared with the piece before.

    Tokens are those of the model that embeds. A piece never crosses a heading or a page. Cuts are made between
    paragraphs where possible, else between lines, sentences and words.
    """

    size: int = 1000
    overlap: int = 150
    unit: Unit = "characters"

    def __post_init__(self) -> None:
        if not _SHORTEST[self.unit] <= self.size <= 100_000:
            raise Invalid(f"chunks of {self.size} {self.unit}", hint=f"{_SHORTEST[self.unit]} to 100,000")
        if not 0 <= self.overlap <= self.size // 2:
            raise Invalid(f"an overlap of {self.overlap} {self.unit}", hint=f"0 to {self.size // 2}, half a chunk")

    def settings(self) -> dict[str, Any]:
        """Return the values as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document. `line` and `page` count from 1; `heading` is the way to its section."""

    text: str
    heading: str = ""
    line: int | None = None
    page: int | None = None

    def embedded_text(self) -> str:
        """Return what its vector stands for: the heading says what the text is about."""
        return f"{self.heading}\n\n{self.text}" if self.heading else self.text


def cut(sections: Iterable[Section], chunking: Chunking, length: Callable[[str], int] = len) -> Iterator[Chunk]:
    """Yield the chunks of a document in order; `length` counts a text in the chunking's unit."""
    try:
        from langchain_text_splitters import RecursiveCharacterTextSplitter
    except ImportError:
        raise MissingExtra("chunking needs langchain-text-splitters", hint="pip install 'studiolo[rag]'") from None
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=chunking.size, chunk_overlap=chunking.overlap, length_function=length, keep_separator="end",
        separators=["\n\n", "\n", ". ", "。", "! ", "? ", " ", ""],
    )  # fmt: skip
    for section in sections:
        before = start = row = 0
        for text in splitter.split_text(section.text):
            start = section.text.index(text, start)
            row += section.text.count("\n", before, start)
            yield Chunk(text, section.heading, section.line_of(row), section.page)
            before, start = start, start + _behind(text, chunking)


def _behind(text: str, chunking: Chunking) -> int:
    """Return how far behind a chunk's beginning the next one begins, at least."""
    if chunking.unit == "tokens" and chunking.overlap:
        return 0  # so many tokens may be any number of characters
    return max(0, len(text) - chunking.overlap)
