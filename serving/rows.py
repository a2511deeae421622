"""The rows that are kept of requests: gathered for a moment and written together, off the way of the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from workspace.errors import Unavailable
from workspace.spool import Spool

GATHERED = 0.05  # seconds
_MOST = 10_000  # rows held back while the disk does not take them

log = logging.getLogger(__name__)


class Rows:
    """The rows of one gateway on their way to its spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._held: list[tuple[str, Mapping[str, Any]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row; it is in the spool a moment later."""
        if len(self._held) < _MOST:
            self._held.append((str(row["request_id"]), row))
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(GATHERED, self._begin)

    def flush(self) -> None:
        """Write what is held, now."""
        held, self._held = self._held, []
        if held:
            self._spool.append_many("request", held)

    def _begin(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            await asyncio.to_thread(self.flush)
        except Unavailable as error:
            log.error("rows of requests are lost: %s", error)
        finally:
            self._writing = None
            if self._held:
                self._timer = asyncio.get_running_loop().call_later(GATHERED, self._begin)
