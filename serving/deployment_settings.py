"""How a deployment is run and asked: its replicas, its patience, its place on a shared machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workspace.errors import Invalid

SCORING = ("script", "mlflow")  # the engines that answer /score as Azure ML's do


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """What is set of a deployment beside its model; seconds throughout, None where the gateway's own limit holds.

    `instances` replicas run from the first request on; with `most` above `least` their number follows the queue,
    down to none where `least` is 0. `concurrency` requests run on a replica at a time and twice as many wait, each up
    to `queue_wait`. A replica that nobody has asked for `ttl` is unloaded (0: never).

    Engines `script` and `mlflow` begin from Azure ML's request settings: 5 s for an answer, one request at a time.
    The engines that chat are given what the gateway gives: minutes for an answer, and as many at once as they batch.
    """

    instances: int = 1
    least: int = 1
    most: int = 1
    timeout: float | None = None
    concurrency: int | None = None
    queue_wait: float | None = None
    ttl: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1:
            raise Invalid(f"min and max instances must be 0 <= min <= max, not {self.least} and {self.most}")
        if self.concurrency is not None and self.concurrency < 1:
            raise Invalid(f"max_concurrent_requests_per_instance must be at least 1, not {self.concurrency}")

    @classmethod
    def of(cls, properties: Mapping[str, Any], *, engine: str = "") -> DeploymentSettings:
        """Read them from the properties of a deployment, where `serving.endpoints` keeps them under "settings"."""
        defaults = {"timeout": 5.0, "concurrency": 1} if engine in SCORING else {}
        found = {**defaults, **(properties.get("settings") or {})}
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if found.get(name) is not None})
