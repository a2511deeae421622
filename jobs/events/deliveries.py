"""From the outbox to those who are told: every event at least once, however often we are killed; all of it kept.

What has changed becomes deliveries in one transaction, one for each rule that fits; from then on its id stays. Each
delivery is tried again with longer and longer pauses, for a day; what nobody has taken then is dead, and stays to be
seen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from jobs.events import receivers, rules
from jobs.events.cloud import TEST, Event, events_of
from jobs.folders import place_of
from jobs.owners import is_left
from workspace.errors import NotFound, Unavailable
from workspace.home import Workspace
from workspace.processes import owned
from workspace.tables import changes, deliveries, event_rules

PAUSES = (10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0)  # seconds before each next try
KEPT, DEAD_KEPT = 7 * 86_400.0, 30 * 86_400.0  # seconds for which the log is kept
_AT_ONCE = 500  # changes in one transaction; deliveries of one rule in one look
_HANDS = 8  # receivers that are told at a time

WAITING, SENDING, DELIVERED, DEAD = "waiting", "sending", "delivered", "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one rule's receiver. `answer` is what came of the last try."""

    id: int
    rule: str
    event: Mapping[str, Any]
    status: str
    tries: int
    next_at: float
    answer: str | None
    created_at: float
    ended_at: float | None


def gather(workspace: Workspace) -> int:
    """Turn what has changed into deliveries; return how many changes there were."""
    source = f"/studiolo/workspaces/{place_of(workspace.home)}"

    def work(connection: Connection) -> int:
        workspace.database.hold(connection, "changes")
        found = connection.execute(select(changes).order_by(changes.c.seq).limit(_AT_ONCE)).all()
        known = rules.all_of(connection) if found else []
        rows = [
            _row(rule.name, event, change.ts)
            for change in found
            for event in events_of(connection, change, source)
            for rule in known
            if rule.fits(event)
        ]
        if rows:
            connection.execute(insert(deliveries), rows)
        if found:
            connection.execute(delete(changes).where(changes.c.seq.in_([each.seq for each in found])))
        return len(found)

    with workspace.database.read() as connection:
        if connection.execute(select(changes.c.seq).limit(1)).first() is None:
            return 0
    return workspace.database.transact(work)


class Courier:
    """Tells what is to be told: each rule's receiver one event at a time, the oldest first.

    A receiver that hangs or fails holds up no other, and an event that it does not take none that comes after it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._pool = ThreadPoolExecutor(_HANDS, thread_name_prefix="courier")
        self._busy: dict[str, Future[None]] = {}
        self._stopped = False

    def tick(self, now: float) -> int:
        """Gather what has changed and begin to tell what is due; return how many receivers are told something."""
        while gather(self._workspace) == _AT_ONCE:
            pass
        self._settle()
        waiting: dict[str, list[Row[Any]]] = {}
        for row in _due(self._workspace, now):
            if row.rule not in self._busy:
                waiting.setdefault(row.rule, []).append(row)
        for rule, rows in waiting.items():
            self._busy[rule] = self._pool.submit(self._tell, rows, now - time.monotonic())
        return len(waiting)

    def wait(self) -> None:
        """Wait until nothing is under way; raise what went wrong with it."""
        wait(list(self._busy.values()))
        self._settle()

    def close(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopped = True
        self._pool.shutdown(cancel_futures=True)

    def _tell(self, rows: Sequence[Row[Any]], ahead: float) -> None:
        """Tell one receiver what waits for it, until it fails; its clock is `ahead` of the monotonic one."""
        for row in rows:
            if self._stopped:
                return
            now = time.monotonic() + ahead
            if not _take(self._workspace, row, now):
                continue
            done = _deliver(self._workspace, replace(_delivery(row), tries=row.tries + 1), now)
            if done.status == WAITING:
                return

    def _settle(self) -> None:
        done = [rule for rule, each in self._busy.items() if each.done()]
        ended = [self._busy.pop(rule) for rule in done]
        for each in ended:
            each.result()


def test(workspace: Workspace, name: str, *, now: float) -> Delivery:
    """Tell a rule's receiver of a test, now and once, whatever the rule's filters; return what came of it."""
    rules.get(workspace, name)
    event = Event(
        type=TEST, subject=f"event-rules/{name}", data={"rule": name}, time=now,
        source=f"/studiolo/workspaces/{place_of(workspace.home)}",
    )  # fmt: skip

    def write(connection: Connection) -> Row[Any]:
        row = _row(name, event, now) | {"tries": 1, "status": SENDING} | owned()
        connection.execute(insert(deliveries).values(row))
        return connection.execute(select(deliveries).filter_by(rule=name, event_id=event.id)).one()

    return _deliver(workspace, _delivery(workspace.database.transact(write)), now, most=1)


def listed(workspace: Workspace, rule: str, *, dead: bool = False, limit: int = 100) -> list[Delivery]:
    """Return the newest deliveries of a rule first, or those that nobody has taken."""
    query = select(deliveries).filter_by(rule=rule, **({"status": DEAD} if dead else {}))
    with workspace.database.read() as connection:
        return [_delivery(row) for row in connection.execute(query.order_by(deliveries.c.id.desc()).limit(limit))]


def counts(workspace: Workspace, rule: str) -> dict[str, int]:
    """Return how many deliveries of a rule there are, by status."""
    query = select(deliveries.c.status, func.count()).filter_by(rule=rule).group_by(deliveries.c.status)
    with workspace.database.read() as connection:
        return {str(status): int(count) for status, count in connection.execute(query)}


def clean(workspace: Workspace, now: float) -> None:
    """Forget what was told long ago."""
    old = ((DELIVERED, KEPT), (DEAD, DEAD_KEPT))

    def write(connection: Connection) -> None:
        for status, kept in old:
            connection.execute(delete(deliveries).filter_by(status=status).where(deliveries.c.ended_at < now - kept))

    workspace.database.transact(write)


def _due(workspace: Workspace, now: float) -> list[Row[Any]]:
    """Return what is to be told now, the oldest first; one rule's many crowd out nobody else's."""
    mine = select(event_rules.c.name).filter_by(place=place_of(workspace.home))
    rank = func.row_number().over(partition_by=deliveries.c.rule, order_by=deliveries.c.id).label("rank")
    due = select(deliveries.c.id, rank).where(deliveries.c.status.in_((WAITING, SENDING)), deliveries.c.next_at <= now)
    each = due.where(deliveries.c.rule.in_(mine)).subquery()
    query = select(deliveries).join(each, each.c.id == deliveries.c.id).where(each.c.rank <= _AT_ONCE)
    with workspace.database.read() as connection:
        rows = connection.execute(query.order_by(deliveries.c.id)).all()
    return [row for row in rows if row.status == WAITING or is_left(row, now)]


def _take(workspace: Workspace, row: Row[Any], now: float) -> bool:
    unchanged = update(deliveries).filter_by(id=row.id, status=row.status, tries=row.tries)
    values = owned() | {"status": SENDING, "tries": row.tries + 1, "next_at": now}
    return workspace.database.transact(lambda connection: connection.execute(unchanged.values(values)).rowcount) == 1


def _deliver(workspace: Workspace, delivery: Delivery, now: float, *, most: int = len(PAUSES) + 1) -> Delivery:
    """Tell a delivery that is ours, and write down what came of it; `most` are the tries that it has."""
    try:
        outcome = _tell(workspace, delivery, now)
    except NotFound:
        return delivery  # its rule was removed, and it with the rule
    except Exception as problem:
        told = f"it broke: {type(problem).__name__}: {problem}"
        _end(workspace, delivery, status=DEAD, answer=told, ended_at=now)
        raise
    if outcome.taken or not outcome.again or delivery.tries >= most:
        status = DELIVERED if outcome.taken else DEAD
        return _end(workspace, delivery, status=status, answer=outcome.words, ended_at=now)
    return _end(workspace, delivery, status=WAITING, answer=outcome.words, next_at=now + PAUSES[delivery.tries - 1])


def _tell(workspace: Workspace, delivery: Delivery, now: float) -> receivers.Outcome:
    rule = rules.get(workspace, delivery.rule)
    try:
        secret = rules.secret_of(workspace, rule.name)
    except Unavailable as problem:  # the key of the secrets is not here
        return receivers.Outcome(taken=False, again=True, words=str(problem))
    return receivers.tell(rule, delivery.event, secret=secret, settings=workspace.settings, now=now)


def _end(workspace: Workspace, delivery: Delivery, **values: Any) -> Delivery:
    mine = update(deliveries).filter_by(id=delivery.id, status=SENDING).values(values)
    workspace.database.transact(lambda connection: connection.execute(mine))
    return replace(delivery, **values)


def _row(rule: str, event: Event, now: float) -> dict[str, Any]:
    return {"rule": rule, "event_id": event.id, "event": event.plain(), "status": WAITING, "tries": 0,
            "next_at": now, "created_at": now}  # fmt: skip


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        rule=row.rule,
        event=row.event,
        status=row.status,
        tries=row.tries,
        next_at=row.next_at,
        answer=row.answer,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
