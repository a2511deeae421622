"""What this machine has as a Hub's shelf: the models of a workspace, and those in the cache of Hugging Face's tools."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from catalog.hub_server.folder import LARGE, blob_oid, facts_of, large, moment
from catalog.hub_server.listing import Listing, Page
from catalog.hub_server.shelf import Commit, HubFile, Repositories, Repository
from workspace import Asset, Workspace

OURS = "studiolo"  # the author of models that are of no Hub
FRESH = 30.0  # seconds for which what was found is told
_LARGEST_TEXT = 10_000_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Stock:
    """A shelf that looks again now and then."""

    def __init__(self, workspace: Workspace, cache: Path) -> None:
        self._workspace = workspace
        self._cache = cache
        self._found = Repositories()
        self._looked = float("-inf")
        self._looking = threading.Lock()

    def page(self, asked: Listing, reader: str) -> Page:
        """Return a page of what is told of the models that are asked for."""
        return self._now().page(asked, reader)

    def find(self, name: str) -> Repository | None:
        """Return the repository of this name, in whatever case."""
        return self._now().find(name)

    def moved(self, name: str) -> str:
        """Return nothing: what was renamed elsewhere is not known here."""
        return self._now().moved(name)

    def _now(self) -> Repositories:
        with self._looking:
            if time.monotonic() - self._looked > FRESH:
                self._found = Repositories(_merged(of_workspace(self._workspace), of_cache(self._cache)))
                self._looked = time.monotonic()
            return self._found


def of_workspace(workspace: Workspace) -> Iterator[Repository]:
    """Yield the models of a workspace: under their Hub's name and commit, or as `studiolo/NAME`, a commit a version."""
    versions: dict[str, list[Asset]] = {}
    for asset in workspace.assets.list("model", every_version=True):
        if asset.is_folder:
            versions.setdefault(_name(asset), []).append(asset)
    for name, assets in versions.items():
        commits = tuple(_commit(workspace, asset) for asset in assets)
        refs = {f"refs/tags/v{asset.version}": commit.sha for asset, commit in zip(assets, commits, strict=True)}
        refs |= {name.removeprefix("refs/tags/"): sha for name, sha in refs.items()}
        newest = assets[0]
        facts = facts_of(name, min(asset.created_at for asset in assets)) | _facts(newest.properties)
        yield Repository(id=name, facts=facts, commits=commits, refs=refs)


def of_cache(cache: Path) -> Iterator[Repository]:
    """Yield the models that tools of Hugging Face have downloaded."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        found = scan_cache_dir(cache)
    except CacheNotFound:
        return
    for repo in found.repos:
        revisions = sorted(repo.revisions, key=lambda each: ("main" in each.refs, each.last_modified), reverse=True)
        commits = tuple(
            Commit(sha=each.commit_hash, date=moment(each.last_modified), files=_cached(each.snapshot_path))
            for each in revisions
            if _COMMIT.fullmatch(each.commit_hash)
        )
        if repo.repo_type != "model" or not commits:
            continue
        refs = {name: each.commit_hash for each in revisions for name in each.refs}
        yield Repository(id=repo.repo_id, facts=facts_of(repo.repo_id, repo.last_modified), commits=commits, refs=refs)


def _merged(ours: Iterator[Repository], cached: Iterator[Repository]) -> list[Repository]:
    """Return each repository once, with the commits that either has; what the cache calls main is main."""
    found = {each.id: each for each in ours}
    for each in cached:
        if (known := found.get(each.id)) is not None:
            commits = {commit.sha: commit for commit in (*each.commits, *known.commits)}
            each = replace(known, commits=tuple(commits.values()), refs={**known.refs, **each.refs})
        found[each.id] = each
    return [*found.values()]


def _name(asset: Asset) -> str:
    source = asset.properties.get("source")
    repo = source.get("repo") if isinstance(source, Mapping) else None
    return str(repo) if repo else f"{OURS}/{asset.name}"


def _commit(workspace: Workspace, asset: Asset) -> Commit:
    source = asset.properties.get("source")
    revision = source.get("revision") if isinstance(source, Mapping) else None
    sha = str(revision) if revision and _COMMIT.fullmatch(str(revision)) else asset.digest.removeprefix("sha256:")[:40]
    files = {}
    for entry in workspace.blobs.entries(asset.digest):
        sha256 = entry.digest.removeprefix("sha256:")
        files[entry.path] = _file(entry.path, entry.size, sha256, workspace.blobs.path(entry.digest))
    return Commit(sha=sha, date=moment(asset.created_at), files=files, title=f"Version {asset.version}")


def _facts(properties: Mapping[str, Any]) -> dict[str, Any]:
    bases = properties.get("base_model") or []
    bases = [bases] if isinstance(bases, str) else bases
    tags = [f"license:{properties['license']}"] if properties.get("license") else []
    tags += [f"base_model:{each}" for each in bases]
    named = (("pipeline_tag", "task"), ("library_name", "library"))
    words = {fact: properties[name] for fact, name in named if isinstance(properties.get(name), str)}
    count = properties.get("parameters")
    sizes = {"safetensors": {"total": count, "parameters": {}}} if isinstance(count, int) else {}
    return {**words, **sizes, "tags": [*tags, *words.values()]}


def _cached(snapshot: Path) -> dict[str, HubFile]:
    """Return the files of a snapshot; the cache calls their content by the digests that the Hub has told."""
    files = {}
    for link in snapshot.rglob("*"):
        if not link.is_file() or link.name.startswith("."):
            continue
        path, place = link.relative_to(snapshot).as_posix(), link.resolve()
        if _SHA256.fullmatch(place.name):
            files[path] = large(path, place.stat().st_size, place.name, place)
        elif _COMMIT.fullmatch(place.name):
            files[path] = HubFile(path=path, size=place.stat().st_size, oid=place.name, place=place)
    return files


@lru_cache(maxsize=100_000)
def _file(path: str, size: int, sha256: str, place: Path) -> HubFile:
    if path.endswith(LARGE) or size > _LARGEST_TEXT:
        return large(path, size, sha256, place)
    return replace(large(path, size, sha256, place), oid=blob_oid(size, [place.read_bytes()]), sha256="")
