"""Who did what to what: rows that are only ever added, each sealed by a hash that covers the row before."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workspace.errors import Conflict
from workspace.light_database import LightDatabase, Row, Statements, from_json, to_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PAGE = "SELECT * FROM audit WHERE seq > :last ORDER BY seq LIMIT 1000"
START = "0" * 64  # what the first row calls the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act. `before` and `after` are what changed, never a secret."""

    seq: int
    ts: float
    actor: str
    action: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Audit:
    """The log of one workspace."""

    def __init__(self, database: LightDatabase) -> None:
        self._database = database

    def record(
        self,
        transaction: Connection | Statements,
        action: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a row inside the transaction of the act itself: both are kept, or neither."""
        statements = _plain(transaction)
        statements.hold("audit")
        last = statements.rows("SELECT digest FROM audit ORDER BY seq DESC LIMIT 1")
        row: dict[str, Any] = {
            "ts": time.time(),
            "actor": current_user(),
            "action": action,
            "subject": subject,
            "before": None if before is None else dict(before),
            "after": None if after is None else dict(after),
            "previous": last[0]["digest"] if last else START,
        }
        kept = {name: None if row[name] is None else to_json(row[name]) for name in ("before", "after")}
        statements.change(
            'INSERT INTO audit (ts, actor, action, subject, "before", "after", previous, digest) '
            "VALUES (:ts, :actor, :action, :subject, :before, :after, :previous, :digest)",
            **row | kept, digest=_seal(row),
        )  # fmt: skip

    def list(self, *, limit: int = 100, before: int | None = None) -> list[AuditRecord]:
        """Return the newest rows first; `before` is the last `seq` of the page before."""
        older = "" if before is None else "WHERE seq < :before "
        query = f"SELECT * FROM audit {older}ORDER BY seq DESC LIMIT :most"
        return [_record(_read(row)) for row in self._database.rows(query, before=before, most=limit)]

    def verify(self, *, head: str | None = None) -> str:
        """Return the seal of the newest row when no row was changed, removed or put between; else raise Conflict.

        Rows cut off at the end leave no gap: who keeps the seal elsewhere and gives it as `head` finds that too.
        """
        previous, seen_head = START, head in (None, START)
        for row in self._all():
            if row["previous"] != previous or not hmac.compare_digest(row["digest"], _seal(row)):
                raise Conflict(f"the audit log was changed at or before row {row['seq']}", hint="compare a backup")
            previous = row["digest"]
            seen_head = seen_head or previous == head
        if not seen_head:
            raise Conflict("rows are missing at the end of the audit log", hint="compare a backup")
        return previous

    def _all(self) -> Iterator[Row]:
        """Yield every row, the oldest first, a thousand at a time."""
        rows = self._database.rows(_PAGE, last=-1)
        while rows:
            yield from map(_read, rows)
            rows = self._database.rows(_PAGE, last=rows[-1]["seq"])


def current_user() -> str:
    """Return the login name of the account this process runs under, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _seal(row: Mapping[str, Any]) -> str:
    covered = [row[key] for key in ("previous", "ts", "actor", "action", "subject", "before", "after")]
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read(row: Row) -> Row:
    return row | {name: from_json(row[name]) for name in ("before", "after")}


def _record(row: Row) -> AuditRecord:
    return AuditRecord(**{name: row[name] for name in AuditRecord.__dataclass_fields__})


def _plain(transaction: Connection | Statements) -> Statements:
    if isinstance(transaction, Statements):
        return transaction
    from workspace.database import plain  # here: whoever has such a transaction has paid for SQLAlchemy

    return plain(transaction)
