"""The meter of each key at the gateway: it lets a request in or says when to come again, and counts what it used."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows.prices import FILE, Prices
from serving import usage
from serving.call import Call
from serving.key_limits import NONE, KeyLimits
from serving.openai_errors import Refusal
from serving.usage import Key, Used
from workspace.errors import StudioloError
from workspace.home import Workspace
from workspace.tokens import TokenRecord

GATHERED = 1.0  # seconds for which usage is held before it is written
FRESH = 30.0  # seconds for which what other gateways have written of a budget may be unknown here

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Bucket:
    """So many a minute: full at first, refilled steadily, below nothing where an answer took more than was left."""

    size: float
    level: float
    at: float

    @classmethod
    def full(cls, size: float) -> Bucket:
        """Return one that nobody has taken from."""
        return cls(size, size, time.monotonic())

    def refill(self) -> None:
        """Add what time has brought."""
        now = time.monotonic()
        self.level = min(self.size, self.level + (now - self.at) * self.size / 60.0)
        self.at = now

    def seconds_to(self, level: float) -> float:
        """Return how long it takes until so much is there."""
        return max(0.0, (level - self.level) * 60.0 / self.size)


@dataclass(slots=True)
class Meter:
    """One key: its limits, what it has now, and what it used since its budget was last looked up."""

    limits: KeyLimits
    requests: Bucket | None = None
    tokens: Bucket | None = None
    active: int = 0
    spent: Used = field(default_factory=Used)
    looked: float = -math.inf
    day: str = ""

    @classmethod
    def of(cls, limits: KeyLimits) -> Meter:
        """Return a meter that nothing has passed."""
        per_minute = (limits.requests_per_minute, limits.tokens_per_minute)
        requests, tokens = (Bucket.full(float(bound)) if bound else None for bound in per_minute)
        return cls(limits, requests, tokens)

    def headers(self) -> dict[str, str]:
        """Return what is left, as OpenAI tells it."""
        found: dict[str, str] = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket:
                found[f"x-ratelimit-limit-{name}"] = f"{bucket.size:.0f}"
                found[f"x-ratelimit-remaining-{name}"] = str(max(0, int(bucket.level)))
                found[f"x-ratelimit-reset-{name}"] = span(bucket.seconds_to(bucket.size))
        return found


class Meters:
    """The meters of one gateway; two gateways of a workspace share budgets, and each has rates of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._meters: dict[str, Meter] = {}
        self._used: dict[Key, Used] = {}
        self._prices = Prices({})
        self._prices_read = -math.inf
        self._writing: asyncio.Task[None] | None = None

    async def ready(self, key: TokenRecord | None) -> None:
        """Look up what a key with a budget has used, where that is not known here."""
        if key is None:
            return
        meter = self._meter(key)
        limits = meter.limits
        if limits.budget is None and limits.budget_tokens is None:
            return
        day = usage.today()
        if meter.day != day or time.monotonic() - meter.looked >= FRESH:
            meter.looked, meter.day = time.monotonic(), day
            await asyncio.to_thread(self.flush)
            meter.spent = await asyncio.to_thread(usage.spent, self._workspace.database, key.id, limits.period)

    @contextmanager
    def admitted(self, call: Call, key: TokenRecord | None, endpoint: str) -> Iterator[None]:
        """Let the request in and count it when it has ended; a Refusal says why not, and when to come again."""
        if key is None:
            yield
            return
        if key.endpoints is not None and endpoint not in key.endpoints:
            raise Refusal(403, f"this key may not ask {endpoint!r}", code="model_not_allowed", param="model")
        meter = self._meter(key)
        if meter.limits is not NONE:
            _admit(meter)
            call.limits = meter.headers()
        meter.active += 1
        try:
            yield
        finally:
            meter.active -= 1
            self._count(call, key, meter, endpoint)

    def flush(self) -> None:
        """Write what was used since the last time."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            usage.add(self._workspace.database, used)
        except StudioloError as error:
            log.warning("usage is not written yet: %s", error)
            for key, more in used.items():
                self._used.setdefault(key, Used()).add(more)

    def _meter(self, key: TokenRecord) -> Meter:
        limits = KeyLimits.of(key.limits) if key.limits else NONE
        meter = self._meters.get(key.id)
        if meter is None or meter.limits != limits:
            active = meter.active if meter else 0
            meter = self._meters[key.id] = Meter.of(limits)
            meter.active = active
        return meter

    def _count(self, call: Call, key: TokenRecord, meter: Meter, endpoint: str) -> None:
        more = Used(requests=1)
        if call.usage:
            more.prompt_tokens, more.completion_tokens = call.usage.prompt, call.usage.completion
            more.cost = self._cost(call)
        call.cost = more.cost
        meter.spent.add(more)
        if meter.tokens:
            meter.tokens.refill()
            meter.tokens.level -= more.tokens
        self._used.setdefault((key.id, usage.today(), endpoint), Used()).add(more)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    def _cost(self, call: Call) -> float:
        if not call.usage or not call.deployment:
            return 0.0
        if time.monotonic() - self._prices_read >= FRESH:
            self._prices_read = time.monotonic()
            try:
                self._prices = Prices.read(self._workspace.home / FILE)
            except StudioloError as error:
                log.warning("the prices cannot be read: %s", error)
        model = call.deployment.model
        names = (call.deployment.endpoint, model.split(":")[1] if model.count(":") == 2 else model)
        costs = (self._prices.of(name, call.usage.prompt, call.usage.completion) for name in names)
        return next((cost for cost in costs if cost is not None), 0.0)

    async def _write(self) -> None:
        await asyncio.sleep(GATHERED)
        self._writing = None
        await asyncio.to_thread(self.flush)


def span(seconds: float) -> str:
    """Return a time as OpenAI writes it.

    >>> span(0.25), span(61.4), span(3600)
    ('250ms', '1m1s', '1h0m0s')
    """
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if whole >= 60 else "") + f"{whole % 60}s"


def _admit(meter: Meter) -> None:
    limits, spent = meter.limits, meter.spent
    over_tokens = limits.budget_tokens is not None and spent.tokens >= limits.budget_tokens
    if over_tokens or (limits.budget is not None and spent.cost >= limits.budget):
        what = f"{spent.tokens:,} tokens" if over_tokens else f"{spent.cost:.4f} of {limits.budget:.4f}"
        when = "for good" if limits.period == "total" else f"until the {limits.period} ends"
        raise Refusal(429, f"the budget of this key is spent {when}: {what}", code="insufficient_quota")
    if limits.concurrency is not None and meter.active >= limits.concurrency:
        raise _too_much(f"this key may ask {limits.concurrency} at a time", 1.0, meter)
    for bucket, needed, what in ((meter.requests, 1.0, "requests"), (meter.tokens, 1.0, "tokens")):
        if bucket:
            bucket.refill()
            if bucket.level < needed:
                raise _too_much(
                    f"this key may use {bucket.size:,.0f} {what} a minute", bucket.seconds_to(needed), meter
                )
    if meter.requests:
        meter.requests.level -= 1.0


def _too_much(message: str, seconds: float, meter: Meter) -> Refusal:
    headers = {"retry-after": str(max(1, math.ceil(seconds))), **meter.headers()}
    return Refusal(429, message, code="rate_limit_exceeded", headers=headers)
