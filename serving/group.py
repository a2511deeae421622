"""The replicas of one engine as a gateway sees them: which answer, which are being brought up, when they were asked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from serving import scaling
from serving.endpoints import Deployment
from serving.engines.launch_adapters import named
from serving.replicas import Replica
from serving.scaling import Demand
from serving.upstream import Address

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds before an engine that keeps ending is started again
SETTLED = 30.0  # seconds after which a replica that ends has not failed to start
JUST_NOW = 0.5  # seconds for which an address that was given out may be about to be used


@dataclass(eq=False, kw_only=True)
class Group:
    """What lives between requests for one engine; deployments of the same engine, model and options share it."""

    key: str
    deployments: dict[str, Deployment] = field(default_factory=dict)  # by path, as last asked for
    ready: dict[int, Replica] = field(default_factory=dict)
    starting: dict[int, asyncio.Task[Replica]] = field(default_factory=dict)
    asleep: dict[int, Replica] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()  # of the ready ones
    asked_at: float = 0.0
    served_since: float = 0.0  # since when any answers
    unwanted: bool = False  # put out, until somebody asks
    held_by: str = ""  # the engine that waits for this one's memory: no new requests until it has it
    failures: int = 0
    failure: Exception | None = None
    not_before: float = 0.0
    missed: dict[int, int] = field(default_factory=dict)  # probes without an answer, one after the other
    enough_since: float = 0.0  # since when fewer replicas would have been enough
    news: asyncio.Event = field(default_factory=asyncio.Event)
    adapting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def any_deployment(self) -> Deployment | None:
        """One of the deployments: for the engine they are the same."""
        return next(reversed(self.deployments.values()), None)

    @property
    def adapters(self) -> dict[str, str]:
        """The LoRA adapters of its deployments: the reference of each by its name."""
        return {name: ref for each in self.deployments.values() for name, ref in named(each).items()}

    def has(self, deployment: Deployment) -> bool:
        """Whether all replicas have the adapters of a deployment."""
        wanted = deployment.properties.get("adapters")
        if not wanted:
            return True
        loaded = [each.adapters for each in self.ready.values() if each.adapters is not None]
        return all(each.get(name) == reference for each in loaded for name, reference in named(deployment).items())

    @property
    def idle(self) -> float:
        """Seconds since somebody last asked."""
        return time.monotonic() - self.asked_at

    def ask(self, deployment: Deployment) -> None:
        """Note that somebody asks."""
        self.deployments[deployment.path] = deployment
        self.asked_at = time.monotonic()
        self.unwanted = False

    def gained(self, index: int, replica: Replica) -> None:
        """Note that a replica answers."""
        if not self.ready:
            self.served_since = time.monotonic()
        self.ready[index] = replica
        self.missed.pop(index, None)
        self._renew()

    def dropped(self, index: int) -> Replica | None:
        """Give no more requests to a replica, and return it; one that died young counts as a failure to start."""
        replica = self.ready.pop(index, None)
        self._renew()
        if replica and not replica.alive:
            if time.time() - replica.since < SETTLED:
                self.failed(None)
            else:
                self.failures = 0
        return replica

    def failed(self, error: Exception | None) -> None:
        """Note that a start came to nothing: the next has to wait for longer."""
        self.failure = error
        self.not_before = time.monotonic() + min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.failures)
        self.failures += 1

    def hold(self, by: str) -> None:
        """Let new requests wait."""
        self.held_by = by

    def release(self, by: str) -> None:
        """Let them go on, where it was this one that held them."""
        if self.held_by == by:
            self.held_by = ""
            self.tell()

    def tell(self) -> None:
        """Wake all that wait for a change."""
        self.news.set()
        self.news = asyncio.Event()

    def first(self) -> int:
        """Return how many replicas a first request starts."""
        return max((scaling.first(each.settings) for each in self.deployments.values()), default=0)

    def wanted(self, active: int, waiting: int) -> int:
        """Return how many replicas there should be now: as many as the most demanding of the deployments wants."""
        if self.unwanted:
            return 0
        now, here = time.monotonic(), len(self.ready) + len(self.starting)
        demand = Demand(replicas=here, active=active, waiting=waiting, idle=self.idle)
        if max((scaling.needed(each.settings, demand) for each in self.deployments.values()), default=0) >= here:
            self.enough_since = now
        calm = now - (self.enough_since or now)
        demand = Demand(replicas=here, active=active, waiting=waiting, idle=self.idle, calm=calm)
        return max((scaling.wanted(each.settings, demand) for each in self.deployments.values()), default=0)

    def _renew(self) -> None:
        self.addresses = tuple(address_of(self.ready[index]) for index in sorted(self.ready))


def address_of(replica: Replica) -> Address:
    """Return where a replica listens."""
    if replica.socket:
        return Address(socket=replica.socket, host=replica.host, key=replica.secret)
    return Address(host="127.0.0.1", port=replica.port, key=replica.secret)
