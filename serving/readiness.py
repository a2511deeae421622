"""Engines ready to answer: a request for a model that is not loaded waits for it, and all that wait share one start."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving import probing, replicas, service
from serving.adapting import adapt
from serving.endpoints import Deployment, Endpoint
from serving.engines.launch_adapters import adapters
from serving.engines.launches import kind
from serving.group import JUST_NOW, Group, address_of
from serving.openai_errors import Refusal
from serving.referee import Resident
from serving.remote import Remotes
from serving.replicas import Replica
from serving.room import Room
from serving.scaling import Load
from serving.tending import tend
from serving.upstream import Address
from workspace.errors import Unavailable
from workspace.home import Workspace

PATIENCE = 120.0  # seconds that a request waits for an engine to load
DRAIN = 600.0  # seconds that a replica which is to stop has for what it works on: as long as an answer may take
SHORT = 5.0  # seconds of a pause that a request waits out
_LOOK = 0.1  # seconds between looks at an engine that loads

log = logging.getLogger(__name__)


class Engines:
    """The engines that one gateway knows.

    `load` tells what is asked of a deployment at this moment, `active` how many requests are at a replica, `known` what
    endpoints there are; without them nothing follows the queue, and the engine of a deployment that is gone stays.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        patience: float = PATIENCE,
        load: Callable[[Deployment], Load] | None = None,
        active: Callable[[Address], int] | None = None,
        known: Callable[[], Awaitable[Mapping[str, Endpoint]]] | None = None,
    ) -> None:
        self._workspace = workspace
        self._patience = patience
        self._load = load
        self._active = active
        self._known = known
        self._groups: dict[str, Group] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._remotes = Remotes(workspace)
        self._room = Room(self, budget=workspace.settings.engine_memory * 2**20)
        self._leaving: set[asyncio.Task[None]] = set()
        self._tending: asyncio.Task[None] | None = None

    # for those who ask

    async def addresses(self, deployment: Deployment) -> Sequence[Address]:
        """Return where the replicas of the deployment answer, at least one, once one does.

        Unavailable with the engine's last words where none can be had, and with the time to come back after where it
        waits for memory.
        """
        if deployment.engine == "openai":
            return (await self._remotes.address(deployment),)
        group = self._group(deployment)
        group.ask(deployment)
        if group.addresses and not group.held_by and group.has(deployment):
            return group.addresses
        try:
            async with asyncio.timeout(self._patience):
                return await self._brought_up(group, deployment)
        except TimeoutError:
            loading = f"the engine of {deployment.model} is still loading"
            raise Unavailable(loading, hint="try again in a moment") from None

    def lost(self, deployment: Deployment, address: Address | None = None) -> None:
        """Note that nobody answered there: the next request looks again, and starts the engine if it is dead."""
        if deployment.engine == "openai":
            self._remotes.forget(deployment)
            return
        group = self._group(deployment)
        self.reap()
        for index, replica in list(group.ready.items()):
            if address is None or address_of(replica) == address:
                group.dropped(index)

    @property
    def states(self) -> Mapping[str, str]:
        """What this gateway uses, by the key of the replica: "ready", "loading", "waiting" for memory or "held"."""
        found: dict[str, str] = {}
        for group in self._groups.values():
            ready = "held" if group.held_by else "ready"
            found |= dict.fromkeys((each.key for each in group.ready.values()), ready)
            found |= dict.fromkeys((_numbered(group.key, index) for index in group.starting), "loading")
        return found | dict.fromkeys(self._room.waiting, "waiting")

    async def described(self) -> list[dict[str, Any]]:
        """Return what /health and `studiolo status` say of each engine."""
        running = await asyncio.to_thread(replicas.living, self._workspace.home)
        states = self.states
        known = {each.key for each in running}
        found = [
            {
                "name": each.key,
                "engine": each.engine,
                "model": each.model,
                "pid": each.pid,
                "state": "asleep" if each.asleep else states.get(each.key, "running"),
                "since": round(each.since, 3),
                "memory": await asyncio.to_thread(replicas.memory, each),
                "reserved": each.memory,
                "queue": dict(zip(("active", "waiting"), self.demand(self._groups.get(each.group)), strict=True)),
            }
            for each in running
        ]
        coming = ("loading", "waiting")
        return found + [
            {"name": key, "state": state} for key, state in states.items() if state in coming and key not in known
        ]

    # bringing up

    async def _brought_up(self, group: Group, deployment: Deployment) -> Sequence[Address]:
        while True:
            if group.held_by:
                await group.news.wait()
            elif group.addresses:
                if not group.has(deployment):
                    await self._adapt(group)
                return group.addresses
            else:
                tasks = self.begin(group, deployment, group.first())
                if not tasks:
                    await _pause(group, deployment)
                    continue
                # Not awaited themselves: one that gives up must not stop the start for the others.
                done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                failures = [error for task in done if not task.cancelled() and (error := task.exception())]
                if failures and not pending and not group.addresses:
                    raise failures[0]

    async def _adapt(self, group: Group) -> None:
        async with group.adapting:
            folders: dict[str, Path] = {}
            for each in list(group.deployments.values()):
                folders |= await asyncio.to_thread(adapters, self._workspace, each)
            for index, replica in list(group.ready.items()):
                if replica.adapters is not None and replica.adapters != group.adapters:
                    replica = await adapt(replica, group.adapters, folders)
                    group.gained(index, replicas.kept(self._workspace.home, replica))

    def begin(self, group: Group, deployment: Deployment, number: int) -> list[asyncio.Task[Replica]]:
        """Start what is missing of so many replicas; none while the engine pauses after failures."""
        if time.monotonic() >= group.not_before:
            for index in range(number):
                if index not in group.ready and index not in group.starting:
                    task = asyncio.create_task(self._bring_up(group, deployment, index))
                    group.starting[index] = task
                    task.add_done_callback(lambda done, index=index: self._settle(group, index, done))  # type: ignore[misc]
        return [*group.starting.values()]

    def _settle(self, group: Group, index: int, done: asyncio.Task[Replica]) -> None:
        group.starting.pop(index, None)
        self._room.taken(_numbered(group.key, index))
        if done.cancelled():
            return
        if error := done.exception():
            group.failed(error if isinstance(error, Exception) else None)
            log.warning("engine %s: %s", _numbered(group.key, index), error)
        else:
            group.gained(index, done.result())
        group.tell()

    async def _bring_up(self, group: Group, deployment: Deployment, index: int) -> Replica:
        key = replicas.key_of(deployment, index)
        record = self._workspace.home / "services" / f"engine-{key}.json"
        group.asleep.pop(index, None)
        found = await asyncio.to_thread(replicas.read, record)
        if found and found.alive and not found.asleep:
            return await self._ready(found)
        if found and found.alive:
            need = Resident(key=key, memory=found.memory, device=found.device)
            await self._room.admit(need, loading=1.0, patience=self._patience)
            if await probing.wake(found):
                found = replicas.kept(self._workspace.home, replace(found, asleep=False))
                return await self._ready(found)
            await asyncio.to_thread(replicas.stop, found)
        launch = await asyncio.to_thread(kind(deployment.engine).launch, self._workspace, deployment)
        need = Resident(key=key, memory=launch.memory, device=launch.device)
        patience = 0.0 if group.ready else self._patience  # where others answer already, there is no hurry
        await self._room.admit(need, loading=launch.loading / 10, patience=patience)
        replica, child = await asyncio.to_thread(
            replicas.adopt_or_start, self._workspace, deployment, index, launch=launch
        )
        if child:
            self._children[child.pid] = child
        return await self._ready(replica)

    async def _ready(self, replica: Replica) -> Replica:
        deadline = time.monotonic() + max(self._patience, replica.loading)
        child = self._children.get(replica.pid)
        while not await probing.answers(replica):
            if not replica.alive:
                raise Unavailable(_why(replica, child.wait() if child else None))
            if time.monotonic() > deadline:
                await asyncio.to_thread(replicas.stop, replica)  # it holds memory, and nobody can ask it
                raise Unavailable(f"the engine of {replica.model} did not get ready in time")
            await asyncio.sleep(_LOOK)
        return replica

    # letting go

    def retire(self, group: Group, index: int) -> None:
        """Give a replica no more requests, let it end what it works on, and stop it."""
        if replica := group.asleep.pop(index, None) or group.dropped(index):
            task = asyncio.create_task(self._leave(replica))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, replica: Replica) -> None:
        deadline = time.monotonic() + DRAIN
        await asyncio.sleep(JUST_NOW)
        while time.monotonic() < deadline and await self._works(replica):
            await asyncio.sleep(_LOOK)
        await asyncio.to_thread(replicas.stop, replica)
        self.reap()

    async def _works(self, replica: Replica) -> bool:
        under_way = self._active is not None and self._active(address_of(replica)) > 0
        return under_way or await probing.at_work(replica)

    def reap(self) -> None:
        """Wait for the processes started here that have ended: one not waited for stays in the table."""
        for pid, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[pid]

    # for the room

    async def residents(self, need: Resident) -> Sequence[Resident]:
        """Return who is in memory, as one that needs room sees it: its own kind, and what others use, stay."""
        running = await asyncio.to_thread(replicas.living, self._workspace.home)
        shared = await asyncio.to_thread(service.another, self._workspace.home)
        own = need.key.rpartition("~")[0] or need.key
        found = []
        for each in running:
            group = self._groups.get(each.group)
            if each.asleep:
                continue
            known = group is not None and any(each.pid == mine.pid for mine in group.ready.values())
            busy = each.group == own or (self._busy(group) if known and group else shared or group is not None)
            idle = group.idle if group else time.time() - each.since
            served = time.monotonic() - group.served_since if group and group.ready else 0.0
            found.append(
                Resident(key=each.key, memory=each.memory, device=each.device, busy=busy, idle=idle, served=served)
            )
        return found

    async def put_out(self, key: str) -> bool:
        """Make an idle engine leave the memory, asleep where it can be; False where somebody has just asked it."""
        running = await asyncio.to_thread(replicas.living, self._workspace.home)
        replica = next((each for each in running if each.key == key), None)
        if replica is None:
            return True
        group = self._groups.get(replica.group)
        index = next((index for index, each in group.ready.items() if each.pid == replica.pid), None) if group else None
        if group and index is not None:
            if self._busy(group):
                return False
            group.dropped(index)
            group.unwanted = not group.ready
        if await self._works(replica):
            if group and index is not None:
                group.gained(index, replica)
            return False
        if await probing.put_to_sleep(replica):
            sleeping = replicas.kept(self._workspace.home, replace(replica, asleep=True))
            if group and index is not None:
                group.asleep[index] = sleeping
        else:
            await asyncio.to_thread(replicas.stop, replica)
        self.reap()
        return True

    def hold(self, keys: Iterable[str], by: str) -> None:
        """Let new requests for these engines wait until the one that waits for their memory has it."""
        for key in keys:
            if group := self._groups.get(key.rpartition("~")[0] or key):
                group.hold(by)

    def release(self, by: str) -> None:
        """Let them go on."""
        for group in self._groups.values():
            group.release(by)

    # looking after them

    def _group(self, deployment: Deployment) -> Group:
        key = replicas.key_of(deployment)
        if key not in self._groups:
            self._groups[key] = Group(key=key)
        if self._tending is None or self._tending.done():
            self._tending = asyncio.create_task(tend(self, self._groups, self._known))
        return self._groups[key]

    def _busy(self, group: Group) -> bool:
        asked = group.idle < JUST_NOW and not group.held_by
        return bool(group.starting) or asked or any(self.demand(group))

    def demand(self, group: Group | None) -> tuple[int, int]:
        """Return how many requests of a group are worked on, and how many wait."""
        loads = [self._load(each) for each in group.deployments.values()] if group and self._load else []
        return sum(each.active for each in loads), sum(each.waiting for each in loads)


def _numbered(key: str, index: int) -> str:
    return f"{key}~{index}" if index else key


async def _pause(group: Group, deployment: Deployment) -> None:
    """Wait until an engine that has died may be started again; Refusal where that is long, or it could not load."""
    seconds = max(0.0, group.not_before - time.monotonic())
    if group.failure is None and seconds <= SHORT:
        await asyncio.sleep(seconds)
        return
    whole = max(1, round(seconds))
    words = str(group.failure) if group.failure else f"the engine of {deployment.model} keeps ending"
    told = f"{words} (it is tried again in {whole} s)"
    raise Refusal(503, told, code="unavailable", headers={"retry-after": str(whole)})


def _why(replica: Replica, code: int | None) -> str:
    ended = "" if code is None else f" (exit code {code})"
    words = replica.last_words()
    return f"the engine of {replica.model} ended while loading{ended}" + (f":\n{words}" if words else "")
