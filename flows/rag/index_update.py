"""Making an index and keeping it up to date: only files that have changed are read, cut and embedded."""

from __future__ import annotations

import fnmatch
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.rag import chunks, indexes, readers
from flows.rag.chunks import Chunk, Chunking
from flows.rag.indexes import About
from workspace.errors import Conflict, Invalid, MissingExtra, NotFound, StudioloError
from workspace.paths import locked

_BATCH = 128  # chunks that are embedded and written together


@dataclass(frozen=True, slots=True)
class Embedder:
    """The model of an index by its name; `count` counts tokens as it reads them, where that is known."""

    model: str
    embed: Callable[[Sequence[str]], Awaitable[list[list[float]]]]
    count: Callable[[str], int] | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """So many files are looked at."""

    files: int


@dataclass(frozen=True, slots=True)
class FileDone:
    """One file is in the index, was in it already, or could not be read."""

    source: str
    chunks: int = 0
    unchanged: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Updated:
    """The index is up to date; `removed` counts documents that are gone from the folder."""

    about: About
    added: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: tuple[FileDone, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    piece: Chunk
    metadata: dict[str, str | int]


@dataclass(slots=True)
class _Tally:
    added: int = 0
    unchanged: int = 0
    failed: list[FileDone] = field(default_factory=list)

    def add(self, done: FileDone) -> None:
        self.added += not (done.unchanged or done.error)
        self.unchanged += done.unchanged
        if done.error:
            self.failed.append(done)


async def update(
    home: Path, name: str, source: Path, embedder: Embedder, *, chunking: Chunking, include: tuple[str, ...] = ()
) -> AsyncGenerator[Begun | FileDone | Updated, None]:
    """Make an index of a folder's documents, or bring it up to date. `include` are patterns of names.

    Where the model or the chunking is another one than before, all files are embedded again. A file that cannot be
    read is told and left out. Killed midway, the next update goes on. One process writes at a time, others wait.
    Raises NotFound for a folder without documents, Conflict where the index is of another folder.
    """
    if chunking.unit == "tokens" and embedder.count is None:
        raise Invalid(f"the tokens of {embedder.model!r} cannot be counted here", hint="cut by characters")
    files = find(source, include)
    place = indexes.folder(home, name)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(place / indexes.LOCK):
        about = _begin(place, About(
            name=name, source=str(source.absolute()), model=embedder.model, chunking=chunking.settings(),
            include=include,
        ))  # fmt: skip
        yield Begun(len(files))
        tally = _Tally()
        with indexes.opened(place) as collection:
            known = _digests(collection)
            async for done in _put(collection, _documents(source, files), known, embedder, chunking):
                tally.add(done)
                yield done
            for gone in known:
                collection.delete(where={"source": gone})
            total = collection.count()
        kept = tally.added + tally.unchanged
        about = replace(about, files=kept, chunks=total, updated_at=time.time())
        indexes.write_about(place, about)
    yield Updated(about, tally.added, tally.unchanged, len(known), tuple(tally.failed))


def find(source: Path, include: tuple[str, ...] = ()) -> list[Path]:
    """Return the documents of a folder, hidden ones left out; raises NotFound where there are none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise NotFound(f"no folder {str(source)!r}", hint="name a folder with documents, or one document")
    found = [path for path in sorted(source.rglob("*")) if _is_document(path, source, include)]
    if not found:
        kinds = ", ".join(include or readers.READERS)
        raise NotFound(f"no documents in {str(source)!r}", hint=f"it looks for {kinds}")
    return found


def _begin(place: Path, about: About) -> About:
    before = indexes.read_about(place)
    if before and before.source != about.source:
        hint = "choose another name, or `studiolo index delete` it first"
        raise Conflict(f"index {about.name!r} is of the folder {before.source!r}", hint=hint)
    if before and (before.model, before.chunking) != (about.model, about.chunking):
        indexes.empty(place)
    indexes.write_about(place, about)
    return about


def _documents(source: Path, files: list[Path]) -> dict[str, Path]:
    return {path.relative_to(source).as_posix() if source.is_dir() else path.name: path for path in files}


async def _put(
    collection: Any, documents: dict[str, Path], known: dict[str, str], embedder: Embedder, chunking: Chunking
) -> AsyncGenerator[FileDone, None]:
    """Bring documents into the collection, many small ones at a time; what is left in `known` is gone."""
    rows: list[_Row] = []
    begun: list[FileDone] = []
    for relative, path in documents.items():
        before = known.pop(relative, None)
        read = _rows(path, relative, before, embedder, chunking)
        if isinstance(read, FileDone) and read.unchanged:
            yield read
            continue
        if before is not None:
            collection.delete(where={"source": relative})
        if isinstance(read, FileDone):
            yield read
            continue
        rows += read
        begun.append(FileDone(relative, chunks=len(read)))
        if len(rows) >= _BATCH:
            await _write(collection, rows, embedder)
            for done in begun:
                yield done
            rows, begun = [], []
    await _write(collection, rows, embedder)
    for done in begun:
        yield done


def _rows(
    path: Path, relative: str, known: str | None, embedder: Embedder, chunking: Chunking
) -> list[_Row] | FileDone:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest == known:
            return FileDone(relative, unchanged=True)
        length = embedder.count if chunking.unit == "tokens" and embedder.count else len
        pieces = list(chunks.cut(readers.read(path), chunking, length))
    except MissingExtra:
        raise
    except (StudioloError, OSError) as error:
        return FileDone(relative, error=str(error))
    # The digest comes with the last chunk: a file that was begun is not taken for one that is done.
    digests = [""] * (len(pieces) - 1) + [digest]
    return [
        _Row(f"{relative}#{number}", piece, _metadata(piece, relative, each))
        for number, (piece, each) in enumerate(zip(pieces, digests, strict=False))
    ]


async def _write(collection: Any, rows: list[_Row], embedder: Embedder) -> None:
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        collection.add(
            ids=[row.id for row in part],
            embeddings=await embedder.embed([row.piece.embedded_text() for row in part]),
            documents=[row.piece.text for row in part],
            metadatas=[row.metadata for row in part],
        )


def _metadata(piece: Chunk, relative: str, digest: str) -> dict[str, str | int]:
    found: dict[str, str | int | None] = {
        "source": relative, "digest": digest, "heading": piece.heading, "line": piece.line, "page": piece.page,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None and value != ""}


def _digests(collection: Any) -> dict[str, str]:
    """Return the documents in an index with their digests, "" for those that were only begun."""
    found: dict[str, str] = {}
    for known in collection.get(include=["metadatas"])["metadatas"]:
        source = str(known["source"])
        found[source] = str(known.get("digest") or "") or found.get(source, "")
    return found


def _is_document(path: Path, source: Path, include: tuple[str, ...]) -> bool:
    relative = path.relative_to(source)
    if any(part.startswith(".") for part in relative.parts) or path.suffix.lower() not in readers.READERS:
        return False
    if include and not any(fnmatch.fnmatch(relative.as_posix(), pattern) for pattern in include):
        return False
    return path.is_file() and path.resolve().is_relative_to(source.resolve())
