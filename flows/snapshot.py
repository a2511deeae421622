"""A flow as it is kept with its runs: its folder, but for what it ignores itself and the files that hold secrets."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows import ignored
from flows.connections import is_missing, kind_of
from workspace import Workspace
from workspace.assets import Asset
from workspace.blobs import files_of
from workspace.documents import parse_yaml
from workspace.errors import StudioloError

_LARGEST = 100_000  # bytes; no connection is written at such length


def keep(workspace: Workspace, name: str, folder: Path) -> Asset:
    """Put a flow's folder among the assets, without what it ignores and without secrets that can be read.

    A folder that is a kept flow's content is that version.
    """
    if kept := workspace.assets.at("flow", folder):
        return kept
    left_out = ignored.under(folder)
    secret = set() if left_out else set(secret_files(folder))
    if not left_out and not secret:
        return workspace.assets.put("flow", asset_name(name), folder)
    with tempfile.TemporaryDirectory(prefix="studiolo-flow-") as made:
        copy = Path(made) / folder.name
        without = left_out | secret
        shutil.copytree(folder, copy, symlinks=True, ignore=lambda place, names: _left_out(place, names, without))
        for path in list(secret_files(copy)):
            path.unlink()
        return workspace.assets.put("flow", asset_name(name), copy)


def asset_name(text: str) -> str:
    """Return a text as the name of an asset."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "flow"


def secret_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a flow that hold secrets as plain text."""
    for path in files_of(folder):
        if path.name.endswith(".env") or path.name.startswith(".env.") or _shows_secret(path):
            yield path


def _shows_secret(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml") or path.stat().st_size > _LARGEST:
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if "type" not in text or ("api_key" not in text and "secrets" not in text):
        return False
    try:
        root = parse_yaml(text, path=path).root
        if not isinstance(root, dict):
            return False
        kind_of(root.get("type"))
    except StudioloError:
        return False  # nobody would read it as a connection
    held = root.get("secrets")
    return any(_is_shown(value) for value in (root.get("api_key"), *(held.values() if isinstance(held, dict) else ())))


def _is_shown(value: Any) -> bool:
    text = "" if value is None else str(value).strip()
    return not is_missing(text) and not text.startswith("${env:")


def _left_out(place: str, names: list[str], without: set[Path]) -> list[str]:
    return [name for name in names if name == ".git" or Path(place, name) in without]
