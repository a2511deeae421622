"""Engines ready to answer: a request for a model that is not loaded waits for it, and all that wait share one start."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Mapping, Sequence

from serving import replicas, upstream
from serving.endpoints import Deployment
from serving.replicas import Replica
from serving.upstream import Address
from workspace.errors import StudioloError, Unavailable
from workspace.home import Workspace

PATIENCE = 120.0  # seconds that a request waits for an engine to load
_LOOK = 0.1  # seconds between looks at an engine that loads


class Engines:
    """The engines that one gateway knows."""

    def __init__(self, workspace: Workspace, *, patience: float = PATIENCE) -> None:
        self._workspace = workspace
        self._patience = patience
        self._ready: dict[str, Replica] = {}
        self._starting: dict[str, asyncio.Task[Replica]] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def states(self) -> Mapping[str, str]:
        """What this gateway uses: "ready" or "loading" by the name of the engine."""
        return dict.fromkeys(self._ready, "ready") | dict.fromkeys(self._starting, "loading")

    async def address(self, deployment: Deployment) -> Address:
        """Return where the deployment answers, once it does; Unavailable with the engine's last words if it cannot."""
        if deployment.engine == "openai":
            return Address.parse(deployment.properties["base_url"])
        key = replicas.key_of(deployment)
        if (replica := self._ready.get(key)) is None:
            task = self._starting.get(key)
            if task is None:
                task = self._starting[key] = asyncio.create_task(self._bring_up(key, deployment))
                task.add_done_callback(lambda done: self._settle(key, done))
            try:
                async with asyncio.timeout(self._patience):
                    replica = await asyncio.shield(task)  # one that gives up must not stop the start for the others
            except TimeoutError:
                raise Unavailable(
                    f"the engine of {deployment.model} is still loading", hint="try again in a moment"
                ) from None
        return Address(socket=replica.socket)

    async def addresses(self, deployment: Deployment) -> Sequence[Address]:
        """Return where the replicas of the deployment answer, at least one, once one does.

        Unavailable with the engine's last words where none can be had.
        """
        return (await self.address(deployment),)

    def lost(self, deployment: Deployment, address: Address | None = None) -> None:  # noqa: ARG002 (one replica yet)
        """Note that nobody answered there: the next request looks again, and starts the engine if it is dead."""
        key = replicas.key_of(deployment)
        self._ready.pop(key, None)
        if child := self._children.get(key):
            child.poll()  # reaps it: a process not waited for stays in the table

    def _settle(self, key: str, done: asyncio.Task[Replica]) -> None:
        self._starting.pop(key, None)
        if not done.cancelled() and done.exception() is None:
            self._ready[key] = done.result()

    async def _bring_up(self, key: str, deployment: Deployment) -> Replica:
        replica, child = await asyncio.to_thread(replicas.adopt_or_start, self._workspace, deployment)
        if child:
            self._children[key] = child
        deadline = time.monotonic() + self._patience
        while not await _answers(replica):
            if not replica.alive:
                code = child.wait() if child else None
                raise Unavailable(_why(replica, code))
            if time.monotonic() > deadline:
                raise Unavailable(f"the engine of {replica.model} did not get ready in {self._patience:g} s")
            await asyncio.sleep(_LOOK)
        return replica


async def _answers(replica: Replica) -> bool:
    try:
        answer = await upstream.send(Address(socket=replica.socket), "GET", "/health")
        try:
            await answer.head(upstream.CONNECT)
            return answer.status == 200
        finally:
            answer.close()
    except StudioloError:
        return False


def _why(replica: Replica, code: int | None) -> str:
    ended = "" if code is None else f" (exit code {code})"
    words = replica.last_words()
    return f"the engine of {replica.model} ended while loading{ended}" + (f":\n{words}" if words else "")
