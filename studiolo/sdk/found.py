"""What the client returns: a job, something registered, an endpoint, as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """A job, or something registered, as it is: `found.name`, `found.status`; `plain` is all of it."""

    plain: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name not in self.plain:
            raise AttributeError(f"there is no {name!r}; there are: {', '.join(self.plain)}")
        return self.plain[name]

    @property
    def studio_url(self) -> str:
        """Where the studio shows it."""
        return str(self.plain["services"]["Studio"]["endpoint"])

    def result(self) -> Found:
        """Return it: what Azure's client begins, this one has done when it returns."""
        return self
