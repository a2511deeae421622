"""How much each key has used, day by day and endpoint by endpoint; what budgets are held against."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import func, insert, select, update

from serving.key_limits import Period
from workspace.database import Database
from workspace.tables import token_usage


@dataclass(slots=True)
class Used:
    """Requests, tokens read and written, and what they cost."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, other: Used) -> None:
        """Count another's to this."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost += other.cost


Key = tuple[str, str, str]  # token id, day, endpoint
_DAY = 86_400


def today() -> str:
    """Return the UTC day: "2026-11-27"."""
    return _day(int(time.time()) // _DAY)


@lru_cache(2)
def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(number * _DAY, UTC):%Y-%m-%d}"


def add(database: Database, used: Mapping[Key, Used]) -> None:
    """Add to what is kept, all of it or nothing."""
    with database.write() as connection:
        for (token, day, endpoint), more in used.items():
            key = {"token_id": token, "day": day, "endpoint": endpoint}
            columns = token_usage.c
            values = {
                "requests": columns.requests + more.requests,
                "prompt_tokens": columns.prompt_tokens + more.prompt_tokens,
                "completion_tokens": columns.completion_tokens + more.completion_tokens,
                "cost": columns.cost + more.cost,
            }
            database.hold(connection, f"usage {token}")
            if connection.execute(update(token_usage).filter_by(**key).values(**values)).rowcount == 0:
                fresh = {name: getattr(more, name) for name in values}
                connection.execute(insert(token_usage).values(**key, **fresh))


def spent(database: Database, token: str, period: Period) -> Used:
    """Return what a key has used in this day or month, or ever."""
    columns = token_usage.c
    sums = (func.sum(columns[name]) for name in ("requests", "prompt_tokens", "completion_tokens", "cost"))
    query = select(*sums).where(columns.token_id == token)
    if period != "total":
        query = query.where(columns.day.startswith(today()[: 10 if period == "day" else 7]))
    with database.read() as connection:
        row = connection.execute(query).one()
    return Used(int(row[0] or 0), int(row[1] or 0), int(row[2] or 0), float(row[3] or 0.0))


def by_endpoint(database: Database, token: str, *, days: Iterable[str] = ()) -> dict[tuple[str, str], Used]:
    """Return what a key has used by day and endpoint, newest day first."""
    columns = token_usage.c
    query = select(token_usage).where(columns.token_id == token).order_by(columns.day.desc(), columns.endpoint)
    if wanted := list(days):
        query = query.where(columns.day.in_(wanted))
    with database.read() as connection:
        return {
            (row.day, row.endpoint): Used(row.requests, row.prompt_tokens, row.completion_tokens, row.cost)
            for row in connection.execute(query)
        }
