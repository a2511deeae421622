"""How often may be asked: counts per who and what, in windows of fixed length, told with every answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ANONYMOUS = {"api": 500, "resolvers": 3000, "pages": 100}  # as the real Hub lets those without an account
GENEROUS = dict.fromkeys(ANONYMOUS, 1_000_000)


@dataclass(slots=True)
class RateLimits:
    """Requests that are left to each asker, of each bucket, in this window."""

    quota: Mapping[str, int] = field(default_factory=lambda: ANONYMOUS)
    window: float = 300.0  # seconds
    clock: Callable[[], float] = time.monotonic
    _begun: float = -1e12
    _used: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, bucket: str, who: str) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it is let through, and the headers that say how many are left."""
        now = self.clock()
        if now - self._begun >= self.window:
            self._begun, self._used = now, {}
        used = self._used[bucket, who] = self._used.get((bucket, who), 0) + 1
        most, rest = self.quota[bucket], max(0, round(self._begun + self.window - now))
        headers = {
            "RateLimit": f'"{bucket}";r={max(0, most - used)};t={rest}',
            "RateLimit-Policy": f'"fixed window";"{bucket}";q={most};w={self.window:g}',
        }
        return used <= most, headers
