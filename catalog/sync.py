"""The Hub's list of models, brought here page by page: whole, or what has changed since; a killed sync goes on."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

from catalog.hub import Answer, Asking, Hub, Patience, Waiting, origin
from catalog.index.arriving import Arriving, Scope, Sofar, discard
from catalog.index.listed import EXPAND, Listed
from catalog.index.publish import Changes, newest, publish
from workspace.errors import Invalid, Unavailable

PAGE = 1000
FULL_EVERY = 7 * 86400.0  # seconds: what vanished, and how often the rest was downloaded, is seen by a whole list alone
OVERLAP = 600  # seconds that are listed again, since clocks differ
# A whole list is told in the order of making: nothing in it moves while it is read.
_WHOLE, _CHANGED = "createdAt", "lastModified"
# After what has changed, a page of what everybody asks for, since counts change without the model.
_POPULAR = ("trendingScore", "downloads")
# How many models the Hub had, as it said itself: from this an ETA of the first sync follows.
_GROWTH = ((1.6462e9, 35e3), (1.6698e9, 100e3), (1.7067e9, 500e3), (1.7273e9, 1.0e6), (1.7567e9, 2.0e6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be brought, in pages of how many: `full` asks for a whole list although changes would do."""

    scope: Scope
    full: bool = False
    page: int = PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A list is asked for: all of the scope (`whole`), or what has changed since; `rows` were fetched before a kill."""

    scope: Scope
    whole: bool
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A page is kept. `rate` is models a second of this run, `left` the seconds it may still take, if that is known."""

    rows: int
    pages: int
    rate: float
    left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The catalog is up to date: readers see it from now on."""

    scope: Scope
    changes: Changes
    seconds: float


Event = Begun | Arrived | Waiting | Published


def scopes(tasks: Sequence[str], libraries: Sequence[str], authors: Sequence[str]) -> list[Scope]:
    """Return each combination: two tasks of one author are two lists."""
    asked: tuple[Sequence[str | None], ...] = (tasks or [None], libraries or [None], authors or [None])
    every = itertools.product(*asked)
    return [Scope(task=task, library=library, author=author) for task, library, author in every]


def known_scopes(folder: Path) -> list[Scope]:
    """Return what has been synced before."""
    found = dict.fromkeys(row.scope for row in _syncs(folder))
    return [_read_scope(text) for text in found]


def sync(folder: Path, hub: Hub, asked: Asked, patience: Patience | None = None) -> Iterator[Event]:
    """Bring the models of a scope; readers see the new state when it is whole, and the old one until then."""
    begun = time.monotonic()
    since = None if asked.full else _since(folder, asked.scope)
    whole = since is None
    first = _url(hub, asked, _WHOLE if since is None else _CHANGED)
    with Asking(hub, patience) as asking:
        _forget_elsewhere(folder, asked.scope, hub, whole=whole, first=first)
        with Arriving.open(folder, asked.scope, complete=whole, first=first) as arriving:
            yield Begun(scope=asked.scope, whole=whole, rows=arriving.sofar.rows)
            try:
                yield from _Run(asking, hub, asked, since).bring(arriving)
            except (_Lost, Invalid):  # where we stand in the list means nothing to the Hub
                discard(folder)
                raise
            changes = publish(folder, arriving, asked.scope, complete=whole)
    yield Published(scope=asked.scope, changes=changes, seconds=time.monotonic() - begun)


class _Lost(Unavailable):
    """The list leads nowhere."""


class _Run:
    """One process's part of a sync."""

    def __init__(self, asking: Asking, hub: Hub, asked: Asked, since: int | None) -> None:
        self._asking = asking
        self._hub = hub
        self._asked = asked
        self._since = since
        self._seen: set[int] = set()
        self._begun = time.monotonic()
        self._rows = 0

    def bring(self, arriving: Arriving) -> Iterator[Arrived | Waiting]:
        while (url := arriving.sofar.next) is not None:
            if hash(url) in self._seen:
                raise _Lost(
                    f"{self._hub.endpoint} tells its list in a circle after {arriving.sofar.rows:,} models",
                    hint="sync again later, from the beginning; check HF_ENDPOINT",
                )
            self._seen.add(hash(url))
            answer: Answer | None = None
            for event in self._asking.get(url):
                if isinstance(event, Answer):
                    answer = event
                else:
                    yield event
            assert answer is not None  # noqa: S101 - the last event always is
            models = _models(answer, url)
            arriving.add(models, self._following(url, models, answer.following))
            self._rows += len(models)
            yield self._arrived(arriving.sofar, models)

    def _following(self, url: str, models: Sequence[Listed], following: str | None) -> str | None:
        """Return the page to ask for next: of this list, or the first of the next one."""
        order = _order(url)
        if order == _WHOLE:
            return following
        if order == _CHANGED and following and models and models[-1].modified >= (self._since or 0):
            return following
        orders = (_CHANGED, *_POPULAR)
        after = orders[orders.index(order) + 1 :]
        return _url(self._hub, self._asked, after[0]) if after else None

    def _arrived(self, sofar: Sofar, models: Sequence[Listed]) -> Arrived:
        rate = self._rows / max(1e-6, time.monotonic() - self._begun)
        left = None
        if sofar.next is None:
            left = 0.0
        elif self._since is None and models and rate:
            left = sofar.rows * _older(models[-1].created) / rate
        return Arrived(rows=sofar.rows, pages=sofar.pages, rate=rate, left=left)


def _models(answer: Answer, url: str) -> list[Listed]:
    if not isinstance(answer.value, list) or not all(isinstance(each, dict) for each in answer.value):
        raise Unavailable(f"{url.partition('?')[0]} answers with no list of models", hint="check HF_ENDPOINT")
    try:
        return [Listed.of(each) for each in answer.value]
    except Invalid as error:
        raise Unavailable(f"{url.partition('?')[0]} tells {error.message}", hint="check HF_ENDPOINT") from None


def _url(hub: Hub, asked: Asked, order: str) -> str:
    scope = asked.scope
    query = [("limit", str(asked.page)), ("sort", order), ("direction", "-1"), *(("expand", each) for each in EXPAND)]
    named = (("pipeline_tag", scope.task), ("filter", scope.library), ("author", scope.author))
    query += [(name, value) for name, value in named if value is not None]
    return f"{hub.endpoint}/api/models?{urlencode(query)}"


def _order(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("sort", [_WHOLE])[0]


@dataclass(frozen=True, slots=True)
class _Sync:
    """What the newest snapshot knows of a sync."""

    scope: str
    complete: bool
    started: int
    newest: int


def _syncs(folder: Path) -> list[_Sync]:
    if (path := newest(folder)) is None:
        return []
    import duckdb

    with duckdb.connect(str(path), read_only=True) as file:
        rows = file.execute("SELECT scope, complete, started, newest FROM syncs").fetchall()
    return [_Sync(*row) for row in rows]


def _since(folder: Path, scope: Scope) -> int | None:
    """Return since when changes are unknown; None where a whole list is needed."""
    covering = [each for each in _syncs(folder) if each.scope in ("", str(scope))]
    whole = max((each.started for each in covering if each.complete), default=None)
    if whole is None or time.time() - whole > FULL_EVERY:
        return None
    # Our clock or the Hub's, whichever is behind.
    return max(min(each.started, each.newest or each.started) for each in covering) - OVERLAP


def _read_scope(text: str) -> Scope:
    return Scope(**dict(part.partition("=")[::2] for part in text.split(",") if part))


def _forget_elsewhere(folder: Path, scope: Scope, hub: Hub, *, whole: bool, first: str) -> None:
    """Begin anew where an unfinished sync was of another Hub."""
    with Arriving.open(folder, scope, complete=whole, first=first) as arriving:
        following = arriving.sofar.next
    if following is not None and origin(following) != hub.origin:
        discard(folder)


def _older(created: int) -> float:
    """Return how many models were made before a time, for each that was made since."""
    times = [when for when, _ in _GROWTH]
    place = min(max(1, bisect_left(times, created)), len(times) - 1)
    (left, fewer), (right, more) = _GROWTH[place - 1], _GROWTH[place]
    slope = (more - fewer) / (right - left)
    before = max(1.0, fewer + (created - left) * slope)
    (left, fewer), (right, more) = _GROWTH[-2], _GROWTH[-1]
    now = more + max(0.0, time.time() - right) * (more - fewer) / (right - left)
    return before / max(1.0, now - before)
