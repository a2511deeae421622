"""Indexes over documents: chunks and their vectors in Chroma, asked for what is nearest to a question.

Each index is a folder of its own: an embedded Chroma database, and `index.json` with what it was made with. Vectors are
ours, of the model that the index names; Chroma makes none. `flows/rag/index_update.py` writes them.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, MissingExtra, NotFound, did_you_mean
from workspace.paths import locked, write_atomically

FOLDER = "chroma"  # in the workspace
LOCK = "write.lock"
_ABOUT = "index.json"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
_COLLECTION = "chunks"
_KEYS = ("source", "heading", "line", "page")
_MOST = 1000  # passages that one question may get


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an index was made with, and what is in it."""

    name: str
    source: str
    model: str
    chunking: dict[str, Any]
    include: tuple[str, ...] = ()
    files: int = 0
    chunks: int = 0
    updated_at: float = 0.0  # UTC seconds; 0 while it is written for the first time


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that answers a question; `score` is the cosine of the angle between their vectors, 1 the nearest."""

    text: str
    score: float
    source: str
    heading: str = ""
    line: int | None = None
    page: int | None = None

    @property
    def place(self) -> str:
        """Return where it stands, as people write it: "guide.md:12", "paper.pdf, page 3"."""
        if self.page is not None:
            return f"{self.source}, page {self.page}"
        return f"{self.source}:{self.line}" if self.line is not None else self.source


def query(
    home: Path, name: str, vector: Sequence[float], *, top: int = 4, only: Mapping[str, Any] | None = None
) -> list[Passage]:
    """Return the passages nearest to a vector, the nearest first.

    `only` says where to look: `{"source": "guide.md"}`, or several values: `{"source": ["a.md", "b.pdf"], "page": 1}`.
    """
    if not 1 <= top <= _MOST:
        raise Invalid(f"{top} passages cannot be asked for", hint=f"1 to {_MOST}")
    collection = _SHELF.collection(existing(home, name))
    found = collection.query(query_embeddings=[list(vector)], n_results=top, where=_where(only or {}))
    rows = zip(found["documents"][0], found["metadatas"][0], found["distances"][0], strict=True)
    return [
        Passage(
            text=text,
            score=round(1 - distance, 6),
            source=str(known["source"]),
            heading=str(known.get("heading") or ""),
            line=known.get("line"),
            page=known.get("page"),
        )
        for text, known, distance in rows
    ]


def get(home: Path, name: str) -> About:
    """Return what an index was made with; raises NotFound where there is none."""
    about = read_about(existing(home, name))
    assert about is not None  # noqa: S101 - existing folders have it
    return about


def list_indexes(home: Path) -> list[About]:
    """Return the indexes of a workspace by name."""
    folders = sorted((home / FOLDER).iterdir()) if (home / FOLDER).is_dir() else []
    return [about for folder in folders if (about := read_about(folder))]


def delete(home: Path, name: str) -> None:
    """Delete an index; the documents stay."""
    place = existing(home, name)
    with locked(place / LOCK):
        _SHELF.close(place)
        shutil.rmtree(place)


def folder(home: Path, name: str) -> Path:
    """Return where an index lies, or would; raises Invalid for a name that cannot be one."""
    if not _NAME.match(name):
        raise Invalid(f"{name!r} cannot name an index", hint="letters, digits, '.', '_' and '-', 63 at most")
    return home / FOLDER / name


def existing(home: Path, name: str) -> Path:
    """Return where an index lies; raises NotFound where there is none."""
    place = folder(home, name)
    if not (place / _ABOUT).is_file():
        known = [about.name for about in list_indexes(home)]
        raise NotFound(f"no index {name!r}", hint=did_you_mean(name, known) or f"studiolo index create {name} FOLDER")
    return place


def read_about(place: Path) -> About | None:
    """Return what an index was made with, None where the folder holds none."""
    file = place / _ABOUT
    if not file.is_file():
        return None
    written = json.loads(file.read_text(encoding="utf-8"))
    return About(**written | {"include": tuple(written["include"])})


def write_about(place: Path, about: About) -> None:
    """Write what an index was made with; whoever reads the index opens it anew."""
    write_atomically(place / _ABOUT, json.dumps(asdict(about), ensure_ascii=False, indent=2))


def empty(place: Path) -> None:
    """Delete what is in an index, for it to be written anew; its lock is held."""
    _SHELF.close(place)
    for path in place.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def opened(place: Path) -> Iterator[Any]:
    """Give the Chroma collection of an index to write in; its lock is held."""
    client = _client(place)
    try:
        yield _collection(client)
    finally:
        client.close()


class _Shelf:
    """What this process reads: one open index each, opened anew once somebody has written it."""

    def __init__(self) -> None:
        self._open: dict[Path, tuple[int, Any, Any]] = {}
        self._lock = threading.Lock()

    def collection(self, place: Path) -> Any:
        with self._lock:
            changed = (place / _ABOUT).stat().st_mtime_ns
            kept = self._open.get(place)
            if kept is None or kept[0] != changed:
                self._close(place)
                client = _client(place)
                kept = self._open[place] = (changed, client, _collection(client))
            return kept[2]

    def close(self, place: Path) -> None:
        with self._lock:
            self._close(place)

    def _close(self, place: Path) -> None:
        if (kept := self._open.pop(place, None)) is not None:
            kept[1].close()


_SHELF = _Shelf()


def _where(only: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what Chroma is asked for; raises Invalid for a key that passages do not have."""
    for key, value in only.items():
        if key not in _KEYS:
            raise Invalid(f"passages have no {key!r} to look for", hint=did_you_mean(key, _KEYS) or ", ".join(_KEYS))
        if value == [] or any(not isinstance(each, str | int) for each in _listed(value)):
            raise Invalid(f"{key} is to be a text or a number, or a list of them, not {value!r}")
    each = [{key: {"$in": _listed(value)}} for key, value in only.items()]
    return {"$and": each} if len(each) > 1 else each[0] if each else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _client(place: Path) -> Any:
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError:
        raise MissingExtra("an index needs chromadb", hint="pip install 'studiolo[rag]'") from None
    settings = Settings(anonymized_telemetry=False, is_persistent=True, persist_directory=str(place))
    return chromadb.PersistentClient(str(place), settings=settings)


def _collection(client: Any) -> Any:
    configuration = {"hnsw": {"space": "cosine", "ef_search": 200}}
    return client.get_or_create_collection(_COLLECTION, embedding_function=None, configuration=configuration)
