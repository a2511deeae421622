"""How many replicas a deployment should have now: a pure decision from its queue and its silence."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Protocol

from serving.deployment_settings import DeploymentSettings

PER_REPLICA = 8  # requests at a time that one replica is meant for, where its deployment does not say
CALM = 30.0  # seconds for which fewer replicas would have been enough, before one is stopped
IDLE = 300.0  # seconds without a request before the last one is stopped, where none may run and no `ttl` is set


class Load(Protocol):
    """What is asked of a deployment at this moment."""

    @property
    def active(self) -> int:
        """Requests that an engine works on."""

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is known when the number of replicas is decided; seconds.

    `calm` is how long fewer replicas would have been enough, `idle` how long nobody has asked.
    """

    replicas: int
    active: int = 0
    waiting: int = 0
    calm: float = 0.0
    idle: float = 0.0


def first(settings: DeploymentSettings) -> int:
    """Return how many replicas a first request starts.

    >>> first(DeploymentSettings(instances=2)), first(DeploymentSettings(least=0, most=4))
    (2, 1)
    """
    return min(max(settings.instances, settings.least), settings.most) if scales(settings) else settings.instances


def scales(settings: DeploymentSettings) -> bool:
    """Whether the number follows the queue."""
    return settings.most > settings.least


def needed(settings: DeploymentSettings, demand: Demand) -> int:
    """Return how many replicas the requests of this moment would fill."""
    per = settings.concurrency or PER_REPLICA
    return ceil((demand.active + demand.waiting) / per)


def wanted(settings: DeploymentSettings, demand: Demand) -> int:
    """Return how many replicas there should be: up at once, down by one at a time and after a calm.

    Never one fewer than work is under way; none at all only where nobody has asked for long enough.
    """
    busy = demand.active + demand.waiting > 0
    if not busy and settings.ttl and demand.idle >= settings.ttl:
        return 0
    if not scales(settings):
        return settings.instances
    if not busy and settings.least == 0 and demand.idle >= (settings.ttl or IDLE):
        return 0
    floor = max(settings.least, 1)
    target = needed(settings, demand)
    if demand.waiting:
        target = max(target, demand.replicas + 1)
    if target > demand.replicas:
        return min(target, settings.most)
    if demand.calm >= CALM and demand.replicas > max(target, floor):
        return demand.replicas - 1
    return min(max(demand.replicas, floor), settings.most)
