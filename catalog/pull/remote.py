"""A model as it is at the Hub: one commit of it, its files with their digests, and what its card says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from catalog.hub import Answer, Asking, Hub
from workspace.errors import Invalid, Unavailable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_PAGES = 100  # of a tree
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file at the Hub. `oid` is what git calls it; where git keeps but a pointer, `sha256` is its content's."""

    path: str
    size: int
    oid: str
    sha256: str = ""

    @property
    def etag(self) -> str:
        """What the shared cache calls its content."""
        return self.sha256 or self.oid


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One commit of a model at a Hub."""

    endpoint: str
    repo: str
    key: str
    revision: str
    asked: str  # the revision as it was asked for: a branch, a tag, a commit
    gated: bool
    files: tuple[RemoteFile, ...]
    license: str | None
    task: str | None
    library: str | None
    bases: tuple[str, ...]
    parameters: int | None

    @property
    def page(self) -> str:
        """Where people read of it, and ask for it."""
        return f"{self.endpoint}/{self.repo}"

    @property
    def api(self) -> str:
        """Where programs ask of it."""
        return f"{self.endpoint}/api/models/{self.repo}"

    def url(self, file: RemoteFile) -> str:
        """Return where a file of this commit is."""
        return f"{self.endpoint}/{self.repo}/resolve/{self.revision}/{quote(file.path)}"


def split(reference: str) -> tuple[str, str]:
    """Read `AUTHOR/NAME` or `AUTHOR/NAME@REVISION`: `split("lab/tiny") == ("lab/tiny", "main")`."""
    name, _, revision = reference.removeprefix("hf:").partition("@")
    if not _NAME.fullmatch(name) or ".." in name:
        raise Invalid(f"{reference!r} names no model of a Hub", hint="write AUTHOR/NAME or AUTHOR/NAME@REVISION")
    return name, revision or "main"


def look(asking: Asking, hub: Hub, name: str, revision: str = "main") -> Remote:
    """Ask what a model is at a revision; one that was renamed is found under its new name."""
    url = f"{hub.endpoint}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
    told = answer(asking, url)
    sha, key, repo = (told.get(each) for each in ("sha", "_id", "id"))
    if not isinstance(sha, str) or not _COMMIT.fullmatch(sha) or not isinstance(repo, str) or not _NAME.fullmatch(repo):
        raise Unavailable(f"{hub.endpoint} does not say which commit of {name} it means", hint="check HF_ENDPOINT")
    card = told.get("cardData") if isinstance(told.get("cardData"), dict) else {}
    tags = [tag for tag in told.get("tags") or () if isinstance(tag, str)]
    return Remote(
        endpoint=hub.endpoint,
        repo=repo,
        key=str(key or ""),
        revision=sha,
        asked=revision,
        gated=bool(told.get("gated")),
        files=tuple(_file(each, repo) for each in _siblings(asking, hub, repo, told)),
        license=_license(card or {}, tags),
        task=told.get("pipeline_tag"),
        library=told.get("library_name"),
        bases=_bases(card or {}),
        parameters=_parameters(told),
    )


def check_access(asking: Asking, remote: Remote) -> None:
    """Raise where the model must be asked for and was not granted to this token; the error leads to where to ask."""
    if remote.gated:
        answer(asking, f"{remote.api}/auth-check", of_mapping=False)


def answer(asking: Asking, url: str, *, of_mapping: bool = True) -> Any:
    """Return what a URL of the Hub tells, waiting as long as it takes."""
    found = _whole(asking, url).value
    if of_mapping and not isinstance(found, dict):
        raise Unavailable(f"{url.partition('?')[0]} answers with no model", hint="check HF_ENDPOINT")
    return found


def _whole(asking: Asking, url: str) -> Answer:
    for event in asking.get(url):
        if isinstance(event, Answer):
            return event
    raise AssertionError("the last event is always the answer")


def _siblings(asking: Asking, hub: Hub, repo: str, told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the files with sizes and digests; mirrors that leave those out of an info have them in the tree."""
    listed: list[Mapping[str, Any]] = [each for each in told.get("siblings") or () if isinstance(each, dict)]
    if all("size" in each for each in listed):
        return listed
    url: str | None = f"{hub.endpoint}/api/models/{repo}/tree/{told['sha']}?recursive=true"
    entries: list[Mapping[str, Any]] = []
    for _ in range(_MOST_PAGES):
        if url is None:
            break
        page = _whole(asking, url)
        entries += [each for each in page.value if isinstance(each, dict)] if isinstance(page.value, list) else []
        url = page.following
    files = (each for each in entries if each.get("type") == "file")
    return [{**each, "rfilename": each.get("path"), "blobId": each.get("oid")} for each in files]


def _file(told: Mapping[str, Any], repo: str) -> RemoteFile:
    lfs = told.get("lfs") or {}
    path, size, oid = told.get("rfilename"), lfs.get("size", told.get("size")), told.get("blobId")
    sha256 = lfs.get("sha256") or lfs.get("oid") or ""
    named = _COMMIT.fullmatch(str(oid)) and (not sha256 or _SHA256.fullmatch(sha256))
    if not isinstance(path, str) or not isinstance(size, int) or size < 0 or not named:
        raise Unavailable(f"the Hub tells sizes or digests of {repo} that are none: {str(dict(told))[:120]}")
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise Unavailable(f"{repo} has a file whose path leads elsewhere: {path[:80]!r}")
    return RemoteFile(path=path, size=size, oid=str(oid), sha256=sha256)


def _license(card: Mapping[str, Any], tags: list[str]) -> str | None:
    named = card.get("license_name") if card.get("license") == "other" else card.get("license")
    if isinstance(named, str):
        return named
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def _bases(card: Mapping[str, Any]) -> tuple[str, ...]:
    bases = card.get("base_model") or ()
    listed = [bases] if isinstance(bases, str) else bases if isinstance(bases, list) else []
    return tuple(each for each in listed if isinstance(each, str))


def _parameters(told: Mapping[str, Any]) -> int | None:
    counts = (part.get("total") for name in ("safetensors", "gguf") if isinstance(part := told.get(name), dict))
    return next((count for count in counts if isinstance(count, int)), None)
