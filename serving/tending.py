"""What a gateway does for its engines between requests: it revives the dead, follows the queue, unloads the idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from serving import probing, replicas
from serving.endpoints import Deployment, Endpoint
from serving.group import Group
from serving.replicas import Replica
from workspace.errors import StudioloError

LOOK = 0.5  # seconds between rounds
FORGET = 10.0  # seconds between looks at which deployments there are
# How often an engine is asked whether it is well, and how many times it may say nothing; Azure ML's defaults.
PERIOD, THRESHOLD = 10.0, 30

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """Who starts and stops replicas."""

    def begin(self, group: Group, deployment: Deployment, number: int) -> list[asyncio.Task[Replica]]:
        """Start what is missing of so many."""

    def retire(self, group: Group, index: int) -> None:
        """Let one end its work and stop."""

    def demand(self, group: Group) -> tuple[int, int]:
        """Return how many requests are worked on and how many wait."""

    def reap(self) -> None:
        """Wait for the processes that have ended."""


async def tend(
    keeper: Keeper,
    groups: Mapping[str, Group],
    known: Callable[[], Awaitable[Mapping[str, Endpoint]]] | None,
) -> None:
    """Go round for ever."""
    probed: dict[str, float] = {}
    looked = time.monotonic()
    while True:
        await asyncio.sleep(LOOK)
        keeper.reap()
        if known and time.monotonic() - looked >= FORGET:
            looked = time.monotonic()
            try:
                _forget(groups, await known())
            except StudioloError as error:
                log.warning("the endpoints could not be read: %s", error)
        for group in list(groups.values()):
            _bury(group)
            if time.monotonic() - probed.get(group.key, 0.0) >= _probe(group, "period", PERIOD):
                probed[group.key] = time.monotonic()
                await _ask_all(group)
            _adjust(keeper, group)


def _bury(group: Group) -> None:
    for index, replica in list(group.ready.items()):
        if not replica.alive:
            log.warning("engine %s has ended: %s", replica.key, replica.last_words()[-500:])
            group.dropped(index)


async def _ask_all(group: Group) -> None:
    found = list(group.ready.items())
    seconds = _probe(group, "timeout", probing.TIMEOUT)
    well = await asyncio.gather(*(probing.answers(replica, seconds=seconds) for _, replica in found))
    for (index, replica), answered in zip(found, well, strict=True):
        group.missed[index] = 0 if answered else group.missed.get(index, 0) + 1
        if group.missed[index] >= _probe(group, "failure_threshold", THRESHOLD):
            log.warning("engine %s has not answered %d times: it is stopped", replica.key, group.missed[index])
            group.dropped(index)
            await asyncio.to_thread(replicas.stop, replica)


def _adjust(keeper: Keeper, group: Group) -> None:
    deployment = group.any_deployment
    number = group.wanted(*keeper.demand(group))
    if deployment and len(group.ready) + len(group.starting) < number:
        keeper.begin(group, deployment, number)
    for index in [index for index in group.ready if index >= number]:
        keeper.retire(group, index)
    ttl = max((each.settings.ttl for each in group.deployments.values()), default=LOOK)
    if ttl and group.idle >= ttl:
        for index in list(group.asleep):
            keeper.retire(group, index)


def _forget(groups: Mapping[str, Group], known: Mapping[str, Endpoint]) -> None:
    """A deployment that is gone, or has become another engine, wants no replicas here."""
    for group in groups.values():
        for path, deployment in list(group.deployments.items()):
            endpoint = known.get(deployment.endpoint)
            found = endpoint.deployments.get(deployment.name) if endpoint else None
            if found is None or replicas.key_of(found) != group.key:
                del group.deployments[path]
            else:
                group.deployments[path] = found


def _probe(group: Group, name: str, default: float) -> float:
    """The setting of a deployment's liveness probe."""
    deployment = group.any_deployment
    probe: Any = deployment.properties.get("liveness_probe") if deployment else None
    found = probe.get(name) if isinstance(probe, Mapping) else None
    return float(found) if isinstance(found, int | float) and found > 0 else default
