"""Which replica takes a request: the one with most room, or a short queue; one whose breaker is open is left alone."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from serving.breaker import Breaker
from serving.deployment_settings import DeploymentSettings
from serving.endpoints import Deployment
from serving.openai_errors import Refusal
from serving.upstream import Address

QUEUED = 2  # requests that wait for each that runs
QUEUE_WAIT = 30.0  # seconds, where a deployment does not say
_REMEMBERED = 1_024  # addresses


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a deployment is: requests under way, requests that wait."""

    active: int
    waiting: int


@dataclass(slots=True)
class Backend:
    """One replica, whichever deployments share it."""

    address: Address
    active: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    resting_until: float = 0.0  # it has said when to come back


@dataclass(slots=True)
class Place:
    """A request's place at a replica; `leave` it in any case."""

    backend: Backend
    _queue: _Queue
    _left: bool = False

    @property
    def address(self) -> Address:
        """Where to ask."""
        return self.backend.address

    def rest(self, seconds: float) -> None:
        """Note that the replica wants to be left alone for so long."""
        self.backend.resting_until = time.monotonic() + seconds

    def leave(self, *, good: bool | None) -> None:
        """Give the place back, and say how it went: None where nobody can say."""
        if not self._left:
            self._left = True
            self.backend.breaker.note(time.monotonic(), good)
            self._queue.release(self.backend)


class _Queue:
    """The requests of one deployment: those at a replica and those that wait, first come first served."""

    def __init__(self, deployment: Deployment) -> None:
        self.use(deployment)
        self.active: dict[Address, int] = {}
        self.waiting: deque[tuple[asyncio.Future[Backend], Sequence[Backend], Collection[Address]]] = deque()

    def use(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.settings: DeploymentSettings = deployment.settings

    def choose(self, backends: Sequence[Backend], avoid: Collection[Address], now: float) -> Backend | None:
        """Return the replica with most room; those to avoid, or that asked for rest, where there is no other."""
        cap = self.settings.concurrency
        best, least = None, (True, True, math.inf, 0.0)
        for backend in backends:
            if not backend.breaker.lets(now) or (cap and self.active.get(backend.address, 0) >= cap):
                continue
            rank = (backend.address in avoid, backend.resting_until > now, backend.active, random.random())  # noqa: S311
            if best is None or rank < least:
                best, least = backend, rank
        return best

    def take(self, backend: Backend) -> None:
        backend.active += 1
        backend.breaker.begin()
        self.active[backend.address] = self.active.get(backend.address, 0) + 1

    def release(self, backend: Backend) -> None:
        backend.active -= 1
        left = self.active[backend.address] - 1
        if left:
            self.active[backend.address] = left
        else:
            del self.active[backend.address]
        self.admit()

    def admit(self) -> None:
        """Give places to those who wait, as long as there are any."""
        now = time.monotonic()
        while self.waiting:
            future, backends, avoid = self.waiting[0]
            if not future.done():
                found = self.choose(backends, avoid, now)
                if found is not None:
                    self.take(found)
                    future.set_result(found)
                elif self.active:
                    return
                else:  # nobody is left who would give a place back
                    _fail(future, _all_down(self.deployment, min(each.breaker.wait(now) for each in backends)))
            self.waiting.popleft()


class Backends:
    """All replicas that one gateway asks."""

    def __init__(self) -> None:
        self._backends: dict[Address, Backend] = {}
        self._queues: dict[str, _Queue] = {}

    def load(self, deployment: Deployment) -> Load:
        """Return how busy a deployment is."""
        queue = self._queues.get(deployment.path)
        return Load(sum(queue.active.values()), len(queue.waiting)) if queue else Load(0, 0)

    @property
    def loads(self) -> Mapping[str, Load]:
        """How busy each deployment is that was asked."""
        return {path: self.load(queue.deployment) for path, queue in self._queues.items()}

    def active(self, address: Address) -> int:
        """Return how many requests are at a replica, whichever deployments they are for."""
        return self._backends[address].active if address in self._backends else 0

    def settings(self, deployment: Deployment) -> DeploymentSettings:
        """Return how a deployment is run, read once."""
        return self._queue(deployment).settings

    def closed(self, address: Address) -> bool:
        """Whether the breaker of a replica is closed."""
        return address not in self._backends or self._backends[address].breaker.closed

    async def place(
        self, deployment: Deployment, addresses: Sequence[Address], *, avoid: Collection[Address] = ()
    ) -> Place:
        """Return a place at one of the addresses, at once or after waiting for one.

        A Refusal 429 where too many wait or the wait was too long, 503 where every breaker is open.
        """
        if found := self.free(deployment, addresses, avoid=avoid):
            return found
        queue = self._queues[deployment.path]
        backends = [self._backends[address] for address in addresses]
        now = time.monotonic()
        if not any(backend.breaker.lets(now) for backend in backends):
            raise _all_down(deployment, min(backend.breaker.wait(now) for backend in backends))
        cap = (queue.settings.concurrency or 1) * len(addresses)
        if len(queue.waiting) >= QUEUED * cap:
            raise _busy(f"{deployment.path} has {cap} requests under way and {len(queue.waiting)} waiting")
        return await self._wait(queue, backends, avoid)

    async def _wait(self, queue: _Queue, backends: Sequence[Backend], avoid: Collection[Address]) -> Place:
        loop = asyncio.get_running_loop()
        seconds = QUEUE_WAIT if queue.settings.queue_wait is None else queue.settings.queue_wait
        future: asyncio.Future[Backend] = loop.create_future()
        entry = (future, backends, avoid)
        late = _busy(f"{queue.deployment.path} had no room within {seconds:g} s")
        timer = loop.call_later(seconds, _fail, future, late)
        queue.waiting.append(entry)
        queue.admit()
        try:
            return Place(await future, queue)
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                Place(future.result(), queue).leave(good=None)  # given in the moment its owner left
            raise
        finally:
            timer.cancel()
            if entry in queue.waiting:
                queue.waiting.remove(entry)

    def free(
        self, deployment: Deployment, addresses: Sequence[Address], *, avoid: Collection[Address] = ()
    ) -> Place | None:
        """Return a place if one is free now."""
        queue = self._queue(deployment)
        backends = [self._backends.get(address) or self._meet(address) for address in addresses]
        if queue.waiting and queue.settings.concurrency:
            return None  # they came first
        found = queue.choose(backends, avoid, time.monotonic())
        if found is None:
            return None
        queue.take(found)
        return Place(found, queue)

    def _queue(self, deployment: Deployment) -> _Queue:
        queue = self._queues.get(deployment.path)
        if queue is None:
            queue = self._queues[deployment.path] = _Queue(deployment)
        elif queue.deployment is not deployment:
            queue.use(deployment)
        return queue

    def _meet(self, address: Address) -> Backend:
        if len(self._backends) >= _REMEMBERED:
            self._backends = {known: each for known, each in self._backends.items() if each.active}
        return self._backends.setdefault(address, Backend(address))


def _fail(future: asyncio.Future[Backend], why: Refusal) -> None:
    if not future.done():
        future.set_exception(why)


def _busy(text: str) -> Refusal:
    return Refusal(429, f"{text}: try again in a moment", code="too_many_requests", headers={"retry-after": "1"})


def _all_down(deployment: Deployment, seconds: float) -> Refusal:
    text = f"every replica of {deployment.path} has failed lately"
    return Refusal(503, text, code="no_healthy_backend", headers={"retry-after": str(max(1, math.ceil(seconds)))})
