"""What is watched of a rollout: how bad one request was, in the eyes of each guard, and what all of them know.

A guard that sees nothing says nothing: data that is missing never ends a rollout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.rollouts.wager import Wager

# By how much the candidate may be worse, as a share of its requests, before a guard acts; of `quality`, as a mean.
MARGINS: Mapping[str, float] = {"errors": 0.02, "first_token": 0.1, "speed": 0.1, "invalid": 0.03, "quality": 0.05}
SHOWN: Mapping[str, str] = {
    "errors": "failed requests",
    "first_token": "first token later than 95 % of the baseline's",
    "speed": "tokens a second below 95 % of the baseline's",
    "invalid": "answers that are empty, or no JSON where JSON was asked for",
    "quality": "1 - mean score",
}
REMEMBERED = 500  # of the baseline's latest times, from which the limit of slow and fast is taken
KNOWN = 50  # of them needed before a request can be called slow, and before the limit moves
FEW_TOKENS = 8  # an answer shorter than this has no speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request that has ended; what is None was not measured. `quality` is a score from 0 (bad) to 1 (good)."""

    candidate: bool
    failed: bool | None = None
    first_token: float | None = None  # seconds
    speed: float | None = None  # tokens a second
    invalid: bool | None = None
    quality: float | None = None


@dataclass(slots=True)
class Limit:
    """Where the worst twentieth of the baseline begins; it stays while a bet is open: both sides meet the same."""

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    at: float | None = None
    learnt: int = 0  # since it was last set

    def learn(self, value: float) -> None:
        """Take one of the baseline's values."""
        self.latest.append(value)
        self.learnt += 1

    def move(self) -> None:
        """Set it anew by what was learnt, between two bets."""
        if self.learnt >= KNOWN:
            self.at = sorted(self.latest)[int(0.95 * len(self.latest))]
            self.learnt = 0


class Guards:
    """The guards of one rollout. `observe` what ends; `alarm` names the guard that has proved the candidate worse."""

    def __init__(self, margins: Mapping[str, float], *, alpha: float) -> None:
        # Of each guard: together they raise a false alarm in `alpha` of all rollouts.
        self.alpha = alpha / max(1, len(margins))
        self.wagers = {name: Wager(margin) for name, margin in margins.items()}
        self._limits = {name: Limit() for name in ("first_token", "speed")}

    def observe(self, seen: Seen) -> None:
        """Take a request."""
        plain = {"errors": seen.failed, "invalid": seen.invalid}
        for name, bad in plain.items():
            if bad is not None:
                self._bet(name, float(bad), candidate=seen.candidate)
        if seen.quality is not None:
            self._bet("quality", 1.0 - min(1.0, max(0.0, seen.quality)), candidate=seen.candidate)
        if seen.first_token is not None:
            self._time("first_token", seen.first_token, candidate=seen.candidate)
        if seen.speed is not None:
            self._time("speed", -seen.speed, candidate=seen.candidate)  # the slower the worse

    @property
    def alarm(self) -> str | None:
        """The guard whose evidence is enough, None while none's is."""
        return next((name for name, wager in self.wagers.items() if wager.proves(self.alpha)), None)

    def told(self) -> dict[str, dict[str, Any]]:
        """Return what each guard knows, for people: requests and badness of both sides, and the evidence."""
        return {
            name: {
                "what": SHOWN[name],
                "margin": wager.margin,
                "candidate": {"count": wager.candidate.count, "mean": wager.candidate.mean},
                "baseline": {"count": wager.baseline.count, "mean": wager.baseline.mean},
                "evidence": wager.wealth,
                "needed": 1.0 / self.alpha,
                "progress": wager.progress(self.alpha),
            }
            for name, wager in self.wagers.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return them as JSON takes them."""
        limits = {name: {"latest": list(limit.latest), "at": limit.at} for name, limit in self._limits.items()}
        return {"wagers": {name: wager.as_dict() for name, wager in self.wagers.items()}, "limits": limits}

    def recall(self, found: Mapping[str, Any]) -> None:
        """Go on where guards that gave `as_dict` had come to."""
        for name, wager in found.get("wagers", {}).items():
            if name in self.wagers:
                self.wagers[name] = Wager.from_dict(wager)
        for name, limit in found.get("limits", {}).items():
            self._limits[name] = Limit(deque(limit["latest"], maxlen=REMEMBERED), limit["at"], len(limit["latest"]))

    def _time(self, name: str, value: float, *, candidate: bool) -> None:
        limit = self._limits[name]
        if limit.at is None:
            limit.move()
        if limit.at is not None:
            self._bet(name, float(value > limit.at), candidate=candidate)
            wager = self.wagers.get(name)
            if wager and not (wager.candidate.new or wager.baseline.new):
                limit.move()
        if not candidate:
            limit.learn(value)

    def _bet(self, name: str, badness: float, *, candidate: bool) -> None:
        if wager := self.wagers.get(name):
            wager.observe(badness, candidate=candidate)
