"""Who is at work on a row of the database, so that another goes on with what its owner has left behind."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from workspace.processes import Identity, host, is_alive, own_identity

SILENT = 300.0  # seconds after which work that nobody can be asked about counts as left behind


def is_left(row: Row[Any], now: float) -> bool:
    """Whether nobody is at work on a row any more; its `next_at` is when its owner took it.

    Another machine cannot be asked. Nor can this process: it lives, but may have failed to write down the end.
    """
    owner = Identity(row.owner_pid, row.owner_started_at)
    if row.owner_host == host() and owner != own_identity():
        return not is_alive(owner)
    return bool(now - row.next_at > SILENT)
