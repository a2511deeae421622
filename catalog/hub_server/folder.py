"""Repositories out of folders: what their files are called by git and by SHA-256, and which commit they make."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from catalog.hub_server.shelf import Commit, HubFile, Repository

LARGE = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".pkl", ".onnx", ".h5", ".model", ".msgpack", ".parquet")
_MOST_IN_GIT = 10_000_000  # bytes
_CHUNK = 1 << 20


def repository(name: str, folder: Path, *, created: float = 0.0, **facts: Any) -> Repository:
    """Return a folder as a repository with one commit: `repository("me/model", folder, tags=["license:mit"])`.

    `gated`, `private`, `disabled` and `readers` among the facts are what a Repository calls so.
    """
    own = {key: facts.pop(key) for key in ("gated", "private", "disabled", "readers") if key in facts}
    begun = created or folder.stat().st_mtime
    commit = commit_of(files_of(folder), moment(begun))
    return Repository(id=name, facts=facts_of(name, begun) | facts, commits=(commit,), **own)


def files_of(folder: Path) -> dict[str, HubFile]:
    """Return the files of a folder by their paths in it; digests are computed."""
    places = sorted(place for place in folder.rglob("*") if place.is_file())
    return {path: _file(path, place) for place in places if (path := place.relative_to(folder).as_posix())}


def commit_of(files: Mapping[str, HubFile], date: str, title: str = "Upload") -> Commit:
    """Return the commit that these files make: other files are another commit."""
    words = "\n".join(f"{path} {file.etag}" for path, file in sorted(files.items()))
    return Commit(
        sha=hashlib.sha1(words.encode(), usedforsecurity=False).hexdigest(), date=date, files=files, title=title
    )


def facts_of(name: str, created: float) -> dict[str, Any]:
    """Return what every model has: a number whose first half is the time at which it was made, as on the Hub."""
    rest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return {
        "_id": f"{int(created):08x}{rest}", "createdAt": moment(created), "likes": 0, "downloads": 0, "tags": [],
        "trendingScore": 0,
    }  # fmt: skip


def moment(seconds: float) -> str:
    """Return a time as the Hub writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def blob_oid(size: int, chunks: Iterable[bytes]) -> str:
    """Return git's name for content."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _file(path: str, place: Path) -> HubFile:
    size = place.stat().st_size
    if not path.endswith(LARGE) and size <= _MOST_IN_GIT:
        return HubFile(path=path, size=size, oid=blob_oid(size, [place.read_bytes()]), place=place)
    with place.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return large(path, size, sha256, place)


def large(path: str, size: int, sha256: str, place: Path) -> HubFile:
    """Return a file of which git keeps only a pointer."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return HubFile(path=path, size=size, oid=blob_oid(len(pointer), [pointer]), place=place, sha256=sha256)
