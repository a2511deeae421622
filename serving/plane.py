"""What all requests of a gateway share on their way to the engines."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.backends import Backends
from serving.breaker import Budget
from serving.call import Limits
from serving.readiness import Engines
from serving.upstream import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The engines, how busy their replicas are, the connections to them, and how much may be tried again."""

    engines: Engines
    backends: Backends
    limits: Limits
    pool: Pool = field(default_factory=Pool)
    _budgets: dict[str, Budget] = field(default_factory=dict)

    def budget(self, path: str) -> Budget:
        """Return the retries that a deployment may still have."""
        return self._budgets.get(path) or self._budgets.setdefault(path, Budget())
