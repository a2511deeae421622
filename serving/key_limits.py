"""What a key may ask for: which endpoints, how much a minute, how much at a time, and how much in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from workspace.errors import Invalid, did_you_mean

Period = Literal["day", "month", "total"]
PERIODS: tuple[Period, ...] = get_args(Period)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Bounds of one key; None is none. Budgets count from the start of the UTC day or month, or from the beginning.

    Tokens are counted when an answer has ended: a key whose tokens are spent is refused the next request, so that
    what is under way may go beyond. `budget` is money, in the currency of `prices.yaml`.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    budget_tokens: int | None = None
    budget: float | None = None
    period: Period = "month"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "period" and value is not None and value <= 0:
                raise Invalid(f"{field.name} must be more than {value}", hint="leave it out for no bound")
        if self.period not in PERIODS:
            raise Invalid(f"no period {self.period!r}", hint=did_you_mean(self.period, PERIODS))

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> KeyLimits:
        """Return the limits that were kept with a token."""
        return cls(**(found or {}))

    def kept(self) -> dict[str, Any] | None:
        """Return what is kept of them, None where there is nothing to keep."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value for name, value in found.items() if value is not None}
        return given if len(given) > 1 else None


NONE = KeyLimits()
