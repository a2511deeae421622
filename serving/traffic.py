"""Which deployment of an endpoint answers a request: a choice by weight, the same one each time for the same user."""

from __future__ import annotations

import math
import random
from bisect import bisect
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from workspace.errors import Invalid, Unavailable

_ALL = 2**64 - 1
_WHOLE = float(2**64) * (1 + 2**-52)


class Split:
    """Names and their weights; percentages usually, but only the proportions count.

    >>> Split({"blue": 90, "green": 10}).choose(0.95)
    'green'
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise Invalid(f"the traffic of {name!r} must be 0 or more, not {weight}", hint="as in blue=90 green=10")
        self._names = [name for name, weight in weights.items() if weight > 0]
        self._weighted = [(_number(name.encode()), weights[name]) for name in self._names]
        self._ends = list(accumulate(weights[name] for name in self._names))

    def choose(self, point: float | None = None) -> str:
        """Return a name; `point`, from 0 up to 1, says where on the line of weights, by default anywhere."""
        if not self._names:
            raise Unavailable("no deployment gets traffic", hint="set it: --traffic blue=100")
        where = (random.random() if point is None else point) * self._ends[-1]  # noqa: S311  balance, no secret
        return self._names[min(bisect(self._ends, where), len(self._names) - 1)]

    def choose_for(self, key: bytes) -> str:
        """Return a name that is the same for the same key, by weighted rendezvous.

        A name whose weight grows takes keys from the others, one whose weight shrinks gives keys to them, and no other
        key moves: between two deployments a change of 10 points moves 10 points of the keys.
        """
        if len(self._names) < 2:
            return self.choose()
        number, log = _number(key), math.log
        scores = [log(_mixed(number ^ mark)) / weight for mark, weight in self._weighted]
        return self._names[scores.index(max(scores))]


@lru_cache(1_024)
def split_of(weights: tuple[tuple[str, float], ...]) -> Split:
    """Return the split for weights, made once."""
    return Split(dict(weights))


def key_of(endpoint: str, request: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return what makes a request the same user's or session's as another, for this endpoint; None where nothing does.

    It is the field `user`, or `metadata.user_id`, or the header `x-studiolo-session` or `x-session-id`.
    """
    found: Any = request.get("user")
    if not (found and isinstance(found, str)):
        metadata = request.get("metadata")
        found = metadata.get("user_id") if isinstance(metadata, dict) else None
    if found and isinstance(found, str):
        who = found.encode("utf-8", "replace")
    else:
        who = headers.get(b"x-studiolo-session") or headers.get(b"x-session-id") or b""
    return endpoint.encode() + b"\0" + who if who else None


def cohort_of(key: bytes) -> str:
    """Return the cohort of a key: one of 4,096 groups of users, which says nothing of who they are."""
    return blake2b(key, digest_size=2, person=b"cohort").hexdigest()[1:]


def _number(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little")


def _mixed(number: int) -> float:
    """Return a number between 0 and 1, neither of them, in which every bit of `number` has a part (splitmix64)."""
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _ALL
    return ((number ^ (number >> 31)) + 0.5) / _WHOLE
