"""Copies of requests for a deployment that is being tried: nobody waits for them, and nobody sees their answers.

A few are under way at a time and a few more wait; what comes beyond that is dropped. None is tried twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import MutableMapping
from typing import Any

from serving.call import Call
from serving.endpoints import Deployment
from serving.forward import forward
from serving.openai_errors import refusal
from serving.plane import Plane
from serving.routing import Way
from serving.rows import Rows
from workspace.errors import StudioloError

AT_ONCE = 8
WAITING = 64
BYTES = 16_000_000  # of all that wait


class Mirror:
    """The copies of one gateway; `dropped` counts those that were too many."""

    def __init__(self, plane: Plane, rows: Rows) -> None:
        self.dropped = 0
        self._plane = plane
        self._rows = rows
        self._waiting: deque[tuple[Call, Deployment]] = deque()
        self._bytes = 0
        self._running: set[asyncio.Task[None]] = set()

    def copy(self, call: Call, deployment: Deployment) -> None:
        """Send a copy some time, or drop it; returns at once."""
        if len(self._waiting) >= WAITING or self._bytes + len(call.body) > BYTES:
            self.dropped += 1
            return
        copy = Call(
            id=uuid.uuid4().hex,
            path=call.path,
            token_id=call.token_id,
            asks=call.asks,
            body=call.body,
            request=call.request,
            scored=call.scored,
            told=call.told,
            trace=call.trace and call.trace.child(),
            mirror_of=call.id,
        )
        self._waiting.append((copy, deployment))
        self._bytes += len(copy.body)
        if len(self._running) < AT_ONCE:
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        while self._waiting:
            call, deployment = self._waiting.popleft()
            self._bytes -= len(call.body)
            try:
                await forward(call, Way(deployment=deployment), self._plane, _nowhere, retries=0)
            except StudioloError as error:
                told = refusal(error)
                call.status, call.error = told.status, told.code
            finally:
                self._rows.add(call.row())


async def _nowhere(_: MutableMapping[str, Any]) -> None:
    """Take an answer, and forget it."""
