"""Load for an endpoint and what came of it: clients that ask one after another, or requests at a rate, come what may.

With a rate, a request counts from when it was due: a server that falls behind cannot hide it by being asked less.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from serving.local import Gateway
from serving.upstream import Address, Answer, Pool
from workspace.errors import Invalid, Unavailable

LOOK = 0.5  # seconds between two looks at how it goes
MOST = 2_000  # requests under way; what is due beyond them fails here
PATIENCE = 600.0  # seconds for one answer
LEAVE = 5.0  # seconds for what is under way when the time is up, before it is cut
SHARES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to ask: so many clients, or so many requests a second (an open loop); for so long, or so often."""

    bodies: Sequence[bytes]  # taken in turn
    path: str = "/v1/chat/completions"
    clients: int = 1
    rate: float | None = None
    seconds: float | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        if self.clients < 1 or (self.rate is not None and self.rate <= 0):
            raise Invalid("at least one client, or a rate above 0")
        if not self.bodies:
            raise Invalid("there is nothing to ask", hint="--prompt or --prompts-file")
        if self.clients > MOST:
            raise Invalid(f"at most {MOST:,} clients")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: when it began, after how long its first token and its end came, or why it failed."""

    began: float  # seconds since the load began
    seconds: float
    first: float | None = None
    tokens: int = 0
    prompt_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How it goes."""

    seconds: float
    ended: int
    failed: int
    active: int
    tokens: int


@dataclass(slots=True)
class Load:
    """A load on a gateway and what it has measured so far; `stop` ends it early."""

    plan: Plan
    gateway: Gateway
    outcomes: list[Outcome] = field(default_factory=list)
    gaps: array[float] = field(default_factory=lambda: array("d"))  # seconds between arrivals of tokens
    seconds: float = 0.0  # for which it has lasted
    _pool: Pool = field(default_factory=Pool)
    _began: float = 0.0
    _active: set[asyncio.Task[None]] = field(default_factory=set)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def warm(self) -> None:
        """Ask once, unmeasured: the engine is up after it. Unavailable with its words where it cannot be asked."""
        outcome = await self._ask(self.plan.bodies[0], time.monotonic())
        if outcome.error:
            raise Unavailable(f"the endpoint cannot be asked: {outcome.error}", hint="studiolo endpoint invoke")
        self.gaps = array("d")

    async def run(self) -> AsyncIterator[Progress]:
        """Ask, and tell how it goes, until all is asked or the time is up."""
        self._began = time.monotonic()
        asking = [asyncio.create_task(each) for each in self._askers()]
        try:
            while not all(task.done() for task in asking):
                await asyncio.wait(asking, timeout=LOOK)
                self.seconds = time.monotonic() - self._began
                yield self._progress()
                if self._over.is_set() or (self.plan.seconds and self.seconds >= self.plan.seconds):
                    break
            await self._end(asking)
            for task in asking:
                if not task.cancelled() and (error := task.exception()):
                    raise error
            yield self._progress()
        finally:
            for task in (*asking, *self._active):
                task.cancel()

    def stop(self) -> None:
        """Ask no more."""
        self._over.set()

    def _askers(self) -> list[Coroutine[Any, Any, None]]:
        numbers = itertools.count() if self.plan.requests is None else iter(range(self.plan.requests))
        if self.plan.rate:
            return [self._at_a_rate(numbers, self.plan.rate)]
        return [self._one_after_another(numbers) for _ in range(self.plan.clients)]

    async def _one_after_another(self, numbers: Any) -> None:
        for number in numbers:
            if self._is_over():
                return
            await self._note(number, time.monotonic())

    async def _at_a_rate(self, numbers: Any, rate: float) -> None:
        due = time.monotonic()
        chance = random.Random(1)  # noqa: S311  arrivals as of people who know nothing of each other
        for number in numbers:
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._is_over():
                break
            if len(self._active) >= MOST:
                self.outcomes.append(Outcome(began=due - self._began, seconds=0.0, error=f"{MOST:,} wait already"))
                continue
            task = asyncio.create_task(self._note(number, due))
            self._active.add(task)
            task.add_done_callback(self._active.discard)
        if self._active:
            await asyncio.wait(set(self._active))

    async def _note(self, number: int, due: float) -> None:
        self.outcomes.append(await self._ask(self.plan.bodies[number % len(self.plan.bodies)], due))

    def _is_over(self) -> bool:
        spent = time.monotonic() - self._began
        return self._over.is_set() or (self.plan.seconds is not None and spent >= self.plan.seconds)

    async def _end(self, asking: Sequence[asyncio.Task[None]]) -> None:
        """Let what is under way come to its end, for a moment; what is cut then counts as neither."""
        waiting = {task for task in (*asking, *self._active) if not task.done()}
        if waiting and not self._over.is_set():
            await asyncio.wait(waiting, timeout=LEAVE)
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)
        self.seconds = time.monotonic() - self._began

    def _progress(self) -> Progress:
        failed = sum(outcome.error is not None for outcome in self.outcomes)
        tokens = sum(outcome.tokens for outcome in self.outcomes)
        active = len(self._active) if self.plan.rate else self.plan.clients
        return Progress(self.seconds, len(self.outcomes), failed, active, tokens)

    async def _ask(self, body: bytes, due: float) -> Outcome:
        arrivals = _Arrivals(due)
        address = Address.parse(self.gateway.base_url, key=self.gateway.token)
        answer: Answer | None = None
        try:
            answer = await self._pool.send(address, "POST", self.plan.path, body=body)
            await answer.head(PATIENCE)
            while chunk := await answer.chunk(PATIENCE):
                arrivals.feed(chunk)
            error = arrivals.error(answer)
        except Unavailable as failure:
            error = str(failure)
        finally:
            if answer:
                answer.close()
        ended = time.monotonic()
        self.gaps.extend(arrivals.gaps)
        return Outcome(
            began=due - self._began, seconds=ended - due, first=arrivals.first, tokens=arrivals.tokens,
            prompt_tokens=arrivals.prompt_tokens, error=error,
        )  # fmt: skip


class _Arrivals:
    """What comes of one answer, and when."""

    def __init__(self, due: float) -> None:
        self.first: float | None = None
        self.gaps: list[float] = []
        self.prompt_tokens = 0
        self._counted: int | None = None
        self._events = 0
        self._due = due
        self._last = 0.0
        self._rest = b""
        self._failure: str | None = None

    @property
    def tokens(self) -> int:
        """As many as the answer says; events, where it says nothing."""
        return self._events if self._counted is None else self._counted

    def feed(self, chunk: bytes) -> None:
        """Take what has come."""
        now = time.monotonic()
        *events, self._rest = (self._rest + chunk).split(b"\n\n")
        said = sum(self._read(event) for event in events)
        if said:
            if self.first is None:
                self.first = now - self._due
            else:
                self.gaps.append(now - self._last)
            self._last = now
            self._events += said

    def error(self, answer: Answer) -> str | None:
        """Return what went wrong, None where nothing did."""
        kind = answer.headers.get(b"content-type", b"")
        if not kind.startswith(b"text/event-stream"):
            return self._whole(answer.status)
        return self._failure if answer.status < 400 else f"{answer.status}"

    def _whole(self, status: int) -> str | None:
        try:
            told = orjson.loads(self._rest)
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        self._count(told.get("usage"))
        if status < 400:
            return None
        error = told.get("error")
        return f"{status} {(error.get('code') or error.get('message')) if isinstance(error, dict) else ''}".rstrip()

    def _read(self, event: bytes) -> bool:
        """Take one event; return whether it holds a part of the answer."""
        if not event.startswith(b"data:") or event.endswith(b"[DONE]"):
            return False
        try:
            told = orjson.loads(event[5:])
        except ValueError:
            self._failure = "an event that is no JSON"
            return False
        if error := told.get("error"):
            self._failure = f"in the stream: {error.get('code') or error.get('message')}"
        self._count(told.get("usage"))
        choice: Mapping[str, Any] = (told.get("choices") or [{}])[0]
        delta = choice.get("delta") or choice
        return any(delta.get(name) for name in ("content", "text", "tool_calls", "reasoning_content"))

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._counted = int(usage.get("completion_tokens") or 0)
            self.prompt_tokens = int(usage.get("prompt_tokens") or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a load has shown. Times are seconds by share, `{0.5: …, 0.99: …}`, of the requests that succeeded."""

    seconds: float
    requests: int
    failed: int
    requests_per_second: float
    tokens_per_second: float
    prompt_tokens: int
    completion_tokens: int
    first_token: Mapping[float, float]
    inter_token: Mapping[float, float]
    latency: Mapping[float, float]
    errors: Mapping[str, int]

    @property
    def times(self) -> Mapping[str, Mapping[float, float]]:
        """The three that are timed, by what people call them."""
        return {"first token": self.first_token, "between tokens": self.inter_token, "whole answer": self.latency}


def summary(load: Load) -> Summary:
    """Return what was measured so far."""
    good = [outcome for outcome in load.outcomes if outcome.error is None]
    seconds = max(load.seconds, 1e-9)
    tokens = sum(outcome.tokens for outcome in good)
    return Summary(
        seconds=load.seconds, requests=len(load.outcomes), failed=len(load.outcomes) - len(good),
        requests_per_second=len(good) / seconds, tokens_per_second=tokens / seconds,
        prompt_tokens=sum(outcome.prompt_tokens for outcome in good), completion_tokens=tokens,
        first_token=shares(outcome.first for outcome in good if outcome.first is not None),
        inter_token=shares(load.gaps), latency=shares(outcome.seconds for outcome in good),
        errors=dict(Counter(outcome.error for outcome in load.outcomes if outcome.error).most_common()),
    )  # fmt: skip


def shares(values: Any) -> dict[float, float]:
    """Return the times within which so many of all lie, nothing where there are none."""
    ordered = sorted(values)
    return {share: at(ordered, share) for share in SHARES} if ordered else {}


def at(ordered: Sequence[float], share: float) -> float:
    """Return the smallest of the ordered values that at least this share of them does not exceed.

    >>> at([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    return ordered[max(0, -(-round(share * len(ordered) * 1e6) // 1_000_000) - 1)]
