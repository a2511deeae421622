"""Where a request goes next when an attempt has failed before its first byte: another replica, another deployment,
the same one after a while, or nowhere.

Two retries at most, within the one deadline of the request, and for ten requests one: a retry that a busy engine must
carry is taken from a budget. One that nobody has taken (no connection) burdens nobody and is free.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from serving.call import Call
from serving.deployment_settings import SCORING
from serving.endpoints import Deployment
from serving.engines.launches import lacking
from serving.events import asking_for_counts, wants_counts
from serving.openai_errors import Refusal
from serving.plane import Plane
from serving.routing import Way, adapter_of
from serving.upstream import Address

AGAIN = (429, 500, 502, 503, 504)  # statuses that another attempt may turn into an answer
RETRIES = 2
PATIENT = 10.0  # seconds that an engine may ask us to wait; asked for more, the client is told so
_PAUSE = 0.1  # seconds before the first retry at the same place at most, twice as many before the second
_SHORT = 0.02  # where nobody has taken the request


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that has come whole."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Failed(Exception):
    """An attempt of which the client has seen nothing; it could be told `refusal`, or the engine's own words."""

    def __init__(
        self,
        refusal: Refusal,
        *,
        whole: Whole | None = None,
        wait: float = 0.0,
        once: bool = False,
        free: bool = False,
        fresh: bool = False,
        elsewhere: bool = False,
    ) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.whole = whole
        self.wait = wait  # seconds that the engine asked for
        self.once = once  # worth one retry, no more
        self.free = free  # nobody has taken the request
        self.fresh = fresh  # a kept connection was at fault
        self.elsewhere = elsewhere  # this deployment has no replica to try


class Course:
    """The attempts of one request."""

    def __init__(self, call: Call, way: Way, plane: Plane, *, retries: int) -> None:
        self.call = call
        self.fresh = False
        self.tried: list[Address] = []
        self.addresses: Sequence[Address] = ()
        self._ways = (way.deployment, *(other for other in way.others if other.name != way.deployment.name))
        self._number = 0
        self._retries = 0
        self._most = retries
        self._body: tuple[Deployment, bytes] | None = None
        self._budget = plane.budget(way.deployment.path)
        self._budget.ask(time.monotonic())
        self._timeout = plane.backends.settings(way.deployment).timeout
        call.deadline = call.started + plane.limits.total

    def loaded(self) -> None:
        """Note that the engine is up: a deployment's own timeout does not count the start of its engine."""
        if self._timeout:
            self.call.deadline = min(self.call.deadline, time.monotonic() + self._timeout)
            self._timeout = None

    @property
    def deployment(self) -> Deployment:
        """Whose turn it is."""
        return self._ways[self._number]

    @property
    def body(self) -> bytes:
        """What this deployment's engine is sent."""
        if self._body is None or self._body[0] is not self.deployment:
            self._body = self.deployment, _outgoing(self.call, self.deployment)
        return self._body[1]

    async def goes_on(self, failed: Failed) -> bool:
        """Return whether there is another attempt, after waiting until it is time."""
        self.call.failures.append(f"{self.deployment.path} {failed.refusal.status}")
        if failed.fresh and not self.fresh:
            self.fresh = True
            return True
        now = time.monotonic()
        if self._retries >= self._most or (failed.once and self._retries):
            return False
        if self.call.scored and not (failed.free or failed.elsewhere):
            return False  # the code of a script may have done something already
        other_replica = not failed.elsewhere and any(address not in self.tried for address in self.addresses)
        other_way = not other_replica and self._number + 1 < len(self._ways)
        if failed.elsewhere and not other_way:
            return False
        pause = 0.0 if other_replica or other_way else self._pause(failed)
        if (failed.wait > PATIENT and pause) or now + pause >= self.call.deadline:
            return False
        if not (failed.free or failed.elsewhere or self._budget.take(now)):
            return False
        self._retries += 1
        self._number += other_way
        if pause:
            await asyncio.sleep(pause)
        return True

    def _pause(self, failed: Failed) -> float:
        """Return a time at random, so that those who failed together do not come back together."""
        longest = _SHORT if failed.free else _PAUSE * 2**self._retries
        return failed.wait + random.uniform(0, longest)  # noqa: S311


def _outgoing(call: Call, deployment: Deployment) -> bytes:
    """Return the body as it came, or with the model's name at the engine and a request for the token counts."""
    if call.scored:
        return call.body
    if deployment.engine in SCORING:
        raise Refusal(400, f"{deployment.path} answers POST /score alone", code="no_such_task", param="model")
    if (field := lacking(deployment.engine, call.asks or call.path, call.request)) is not None:
        what = f"{field!r} is" if field else f"{call.asks or call.path} is"
        message = f"{what} not supported by {deployment.path}, whose engine is {deployment.engine}"
        raise Refusal(400, message, code="unsupported_parameter", param=field or "model")
    name = deployment.model if deployment.engine == "openai" else deployment.model.split(":")[1]
    name = adapter_of(str(call.request["model"]), deployment) or name
    counted = not call.stream or wants_counts(call.request)
    if counted and call.body and call.request["model"] == name:
        return call.body
    request = {**call.request, "model": name}
    request = request if counted else asking_for_counts(request)
    try:
        return orjson.dumps(request)
    except TypeError:  # an integer that is too long for it, or half an emoji
        return json.dumps(request).encode()
