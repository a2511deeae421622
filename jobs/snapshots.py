"""The code of a job as it was when it was submitted, without what its ignore file names, and where it came from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from workspace.blobs import NO_CONTENT, Blob
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.paths import write_atomically

IGNORE_FILES = (".amlignore", ".gitignore")  # the first that is there counts, alone, as in Azure ML
PATIENCE = 5.0  # seconds for git
SETTLED = 2.0  # seconds after which a file that was written to shows it by its time


def snapshot(workspace: Workspace, source: Path) -> Blob:
    """Keep a folder of code, or one file, and return its content; what was kept before costs a look at each file."""
    files = list(code_files(source))
    return kept(workspace, source, files, lambda: workspace.blobs.add_files(files))


def code_files(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield what belongs to the code, by its path in the folder; links are followed, as Azure ML follows them."""
    if source.is_file():
        yield source.name, source
        return
    is_ignored = _ignored_by(source)
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(source, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            raise Invalid(f"{place} is inside itself by a link", hint="take the link out of the code")
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(set(folders) - NO_CONTENT)
        for name in sorted(set(names) - NO_CONTENT):
            path = Path(place, name)
            relative = path.relative_to(source).as_posix()
            if path.is_file() and not is_ignored(relative):
                yield relative, path


def git_properties(folder: Path) -> dict[str, str]:
    """Return where the code comes from in Azure ML's words; nothing outside a repository.

    >>> git_properties(Path("."))["mlflow.source.git.commit"]
    '9ab13ba…'
    """
    if not any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents)):
        return {}
    heads = _git(folder, "status", "--porcelain=v2", "--branch", "-uno").splitlines()
    told = dict(line[2:].split(" ", 1) for line in heads if line.startswith("# branch.") and " " in line[2:])
    found = {
        "repository_uri": _without_secrets(_git(folder, "config", "--get", "remote.origin.url").strip()),
        "branch": told.get("branch.head", ""),
        "commit": told.get("branch.oid", ""),
        "dirty": str(any(not line.startswith("#") for line in heads)),
    }
    named = {"repository_uri": "repoURL", "branch": "branch", "commit": "commit"}
    properties = {f"azureml.git.{key}": value for key, value in found.items() if value and not value.startswith("(")}
    properties |= {
        f"mlflow.source.git.{theirs}": properties[f"azureml.git.{ours}"]
        for ours, theirs in named.items()
        if f"azureml.git.{ours}" in properties
    }
    return properties


def kept(workspace: Workspace, source: Path, files: list[tuple[str, Path]], keep: Callable[[], Blob]) -> Blob:
    """Return the content of files, read only where one of them has changed since it was kept."""
    seen, newest = _signs(files)
    note = workspace.home / "jobs" / "kept" / f"{hashlib.sha256(bytes(source.resolve())).hexdigest()[:32]}.json"
    if note.exists() and (known := json.loads(note.read_text()))["signs"] == seen:
        blob = Blob(**known["blob"])
        if workspace.blobs.has(blob.digest):
            return blob
    blob = keep()
    # A file that was written to a moment ago could be written to again and show the same time.
    if time.time() - newest > SETTLED and _signs(files)[0] == seen:
        write_atomically(note, json.dumps({"signs": seen, "blob": asdict(blob)}))
    return blob


def signs(files: list[tuple[str, Path]]) -> str:
    """Return what files look like from outside: the same unless one of them was changed."""
    return _signs(files)[0]


def _signs(files: list[tuple[str, Path]]) -> tuple[str, float]:
    digest, newest = hashlib.sha256(), 0.0
    for name, path in files:
        status = path.stat()
        newest = max(newest, status.st_mtime, status.st_ctime)
        digest.update(
            f"{name}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0"
            f"{status.st_mode}\n".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest(), newest


def _ignored_by(folder: Path) -> Callable[[str], bool]:
    path = next((folder / name for name in IGNORE_FILES if (folder / name).exists()), None)
    if path is None:
        return lambda _: False
    from pathspec import PathSpec

    lines = [line.rstrip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    # Each file by itself, the last pattern that fits it decides.
    return PathSpec.from_lines("gitignore", lines).match_file


def _git(folder: Path, *arguments: str) -> str:
    line = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False, errors="replace")
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url
