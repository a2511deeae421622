"""Sections cut into chunks: pieces that one vector can stand for, each knowing where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from flows.rag.readers import Section
from workspace.errors import Invalid, MissingExtra


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are cut: at most `size` characters, `overlap` of them shared with the piece before.

    A piece never crosses a heading or a page. Cuts are made between paragraphs where possible, else between lines,
    sentences and words.
    """

    size: int = 1000
    overlap: int = 150

    def __post_init__(self) -> None:
        if not 50 <= self.size <= 100_000:
            raise Invalid(f"chunks of {self.size} characters", hint="50 to 100,000")
        if not 0 <= self.overlap <= self.size // 2:
            raise Invalid(f"an overlap of {self.overlap} characters", hint=f"0 to {self.size // 2}, half a chunk")

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


def cut(sections: Iterable[Section], chunking: Chunking) -> Iterator[Chunk]:
    """Yield the chunks of a document in order."""
    try:
        from langchain_text_splitters import RecursiveCharacterTextSplitter
    except ImportError:
        raise MissingExtra("chunking needs langchain-text-splitters", hint="pip install 'studiolo[rag]'") from None
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=chunking.size, chunk_overlap=chunking.overlap, add_start_index=True, keep_separator="end",
        separators=["\n\n", "\n", ". ", "。", "! ", "? ", " ", ""],
    )  # fmt: skip
    for section in sections:
        for piece in splitter.create_documents([section.text]):
            before = section.text[: piece.metadata["start_index"]].count("\n")
            line = None if section.line is None else section.line + before
            yield Chunk(piece.page_content, section.heading, line, section.page)
