"""How fast models have answered on this machine: what `studiolo bench endpoint` has measured, kept for whoever asks."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.paths import locked, write_atomically

_FILE = "speeds.json"
_MOST = 1000  # measurements that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Tokens a second of `clients` texts at once, by the content of a model."""

    digest: str
    model: str
    engine: str
    clients: int
    tokens_per_second: float
    at: float


def keep(workspace: Workspace, model: str, engine: str, *, clients: int, tokens_per_second: float) -> bool:
    """Keep a measurement, in place of an older one of the same; False where no model of this workspace answered."""
    kind, _, name = model.partition(":")
    if kind != "model":  # a name at a server elsewhere
        return False
    asset = workspace.assets.get("model", name)
    found = Measured(
        digest=asset.digest, model=f"{asset.name}:{asset.version}", engine=engine, clients=clients,
        tokens_per_second=tokens_per_second, at=time.time(),
    )  # fmt: skip
    path = workspace.home / _FILE
    with locked(path.with_suffix(".lock")):
        others = [each for each in _all(workspace) if _same(each) != _same(found)]
        write_atomically(path, json.dumps([asdict(each) for each in [*others, found][-_MOST:]], indent=1))
    return True


def of(workspace: Workspace, model: str) -> list[Measured]:
    """Return what was measured of a model of this workspace; nothing for what is elsewhere."""
    try:
        digest = workspace.assets.get("model", model).digest
    except NotFound:
        return []
    return [each for each in _all(workspace) if each.digest == digest]


def _same(found: Measured) -> tuple[str, str, int]:
    return found.digest, found.engine, found.clients


def _all(workspace: Workspace) -> list[Measured]:
    try:
        kept = json.loads((workspace.home / _FILE).read_text(encoding="utf-8"))
        return [Measured(**each) for each in kept]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        return []  # what is damaged is measured again
