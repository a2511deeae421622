"""What a Hub has: repositories with their commits and files, and whatever can list and find them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from catalog.hub_server.listing import Listing, Page, cut, key_of

MAIN = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository. `oid` is git's name for it; `sha256` is there where git keeps but a pointer (LFS)."""

    path: str
    size: int
    oid: str
    place: Path
    sha256: str = ""

    @property
    def etag(self) -> str:
        """The name of its content, as the Hub's clients compare it."""
        return self.sha256 or self.oid


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A state of a repository."""

    sha: str
    date: str
    files: Mapping[str, HubFile]
    title: str = "Upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository: `facts` is what lists and infos tell of it; `commits` are the newest first, `refs` name some."""

    id: str
    facts: Mapping[str, Any]
    commits: tuple[Commit, ...]
    refs: Mapping[str, str] = field(default_factory=dict)
    gated: Literal[False, "auto", "manual"] = False
    private: bool = False
    disabled: bool = False
    readers: frozenset[str] = frozenset()  # who may read it where it is gated or private

    def commit(self, revision: str) -> Commit | None:
        """Return the state that a branch, a tag, a pull request or a commit names."""
        sha = self.commits[0].sha if revision in (MAIN, f"refs/heads/{MAIN}") else self.refs.get(revision, revision)
        return next((each for each in self.commits if each.sha == sha), None)

    def told(self) -> dict[str, Any]:
        """Return all that the Hub tells of it, from which lists and infos take what is asked for."""
        newest = self.commits[0]
        return {
            **self.facts,
            "id": self.id,
            "modelId": self.id,
            "author": self.id.split("/")[0] if "/" in self.id else None,
            "sha": newest.sha,
            "lastModified": self.facts.get("lastModified", newest.date),
            "private": self.private,
            "disabled": self.disabled,
            "gated": self.gated,
            "siblings": [{"rfilename": path} for path in newest.files],
            "usedStorage": sum(file.size for file in newest.files.values()),
        }


class Shelf(Protocol):
    """Whatever has repositories."""

    def page(self, asked: Listing, reader: str) -> Page:
        """Return what is told of the models that are asked for, a page of them."""
        ...

    def find(self, name: str) -> Repository | None:
        """Return the repository of this name, in whatever case."""
        ...

    def moved(self, name: str) -> str:
        """Return what a repository is called now that had this name, or nothing."""
        ...


class Repositories:
    """A shelf of repositories that are known one by one."""

    def __init__(self, repositories: Iterable[Repository] = (), *, moved: Mapping[str, str] | None = None) -> None:
        self._known = {each.id.casefold(): each for each in repositories}
        self._moved = {old.casefold(): new for old, new in (moved or {}).items()}

    def put(self, repository: Repository) -> None:
        """Add a repository, or what has become of it."""
        self._known[repository.id.casefold()] = repository

    def remove(self, name: str) -> None:
        """Take a repository away."""
        del self._known[name.casefold()]

    def rename(self, old: str, new: Repository) -> None:
        """Give a repository another name: the old one leads there."""
        self.remove(old)
        self.put(new)
        self._moved[old.casefold()] = new.id

    def page(self, asked: Listing, reader: str) -> Page:
        """Return a page of what is told of the models that are asked for."""
        seen = (each for each in self._known.values() if not each.private or reader in each.readers)
        found: Sequence[Mapping[str, Any]] = [told for each in seen if asked.takes(told := each.told())]
        return cut(sorted(found, key=lambda told: key_of(told, asked.sort)), asked)

    def find(self, name: str) -> Repository | None:
        """Return the repository of this name, in whatever case."""
        return self._known.get(name.casefold())

    def moved(self, name: str) -> str:
        """Return what a repository is called now that had this name."""
        return self._moved.get(name.casefold(), "")
