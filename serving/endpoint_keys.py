"""The two keys of an endpoint, as Azure ML gives them: either opens it, and one can be replaced while the other serves.

A key is a token of the workspace. Its owner may look at it again: it is kept sealed in a file that only they can open.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

from serving import endpoints
from workspace.errors import Denied, NotFound
from workspace.home import Workspace
from workspace.paths import locked, write_atomically

Which = Literal["primary", "secondary"]
WHICH: tuple[Which, ...] = get_args(Which)


def keys(workspace: Workspace, endpoint: str) -> dict[Which, str]:
    """Return the keys of an endpoint; one that is missing, or opens nothing any more, is made."""
    endpoints.get(workspace, endpoint)
    with locked(_lock(workspace)):
        found = _read(workspace, endpoint)
        for which in WHICH:
            if not _opens(workspace, found.get(which, "")):
                found[which] = _new(workspace, endpoint, which)
        _write(workspace, endpoint, found)
    return found


def regenerate(workspace: Workspace, endpoint: str, which: Which) -> str:
    """Return a new key; the one before opens nothing from now on."""
    endpoints.get(workspace, endpoint)
    with locked(_lock(workspace)):
        found = _read(workspace, endpoint)
        _revoke(workspace, found.get(which, ""))
        found[which] = _new(workspace, endpoint, which)
        _write(workspace, endpoint, found)
    return found[which]


def revoke(workspace: Workspace, endpoint: str) -> None:
    """Close both keys, for an endpoint that goes."""
    with locked(_lock(workspace)):
        for key in _read(workspace, endpoint).values():
            _revoke(workspace, key)
        _file(workspace, endpoint).unlink(missing_ok=True)


def _new(workspace: Workspace, endpoint: str, which: Which) -> str:
    return workspace.tokens.create(f"{endpoint} {which}", "viewer", endpoints=[endpoint])


def _opens(workspace: Workspace, key: str) -> bool:
    try:
        return bool(key) and workspace.tokens.check(key).valid
    except Denied:
        return False


def _revoke(workspace: Workspace, key: str) -> None:
    if _opens(workspace, key):
        workspace.tokens.revoke(workspace.tokens.check(key).id)


def _read(workspace: Workspace, endpoint: str) -> dict[Which, str]:
    try:
        sealed = json.loads(_file(workspace, endpoint).read_text())
        return {which: workspace.secrets.unseal(sealed[which]) for which in WHICH if which in sealed}
    except (FileNotFoundError, NotFound):
        return {}


def _write(workspace: Workspace, endpoint: str, found: dict[Which, str]) -> None:
    sealed = {which: workspace.secrets.seal(key) for which, key in found.items()}
    write_atomically(_file(workspace, endpoint), json.dumps(sealed))


def _file(workspace: Workspace, endpoint: str) -> Path:
    return workspace.home / "services" / f"keys-{endpoint}.json"


def _lock(workspace: Workspace) -> Path:
    folder = workspace.home / "services"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / "keys.lock"
