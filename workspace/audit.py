"""Who did what to what: rows that are only ever added, each sealed by a hash that covers the row before."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from workspace.database import Database
from workspace.errors import Conflict
from workspace.tables import audit

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

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        connection: Connection,
        action: str,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a row inside the transaction of the act itself: both are kept, or neither."""
        self._database.hold(connection, "audit")
        last = connection.scalar(select(audit.c.digest).order_by(audit.c.seq.desc()).limit(1))
        row: dict[str, Any] = {
            "ts": time.time(),
            "actor": current_user(),
            "action": action,
            "subject": subject,
            "before": None if before is None else dict(before),
            "after": None if after is None else dict(after),
            "previous": last or START,
        }
        connection.execute(insert(audit).values(**row, digest=_seal(row)))

    def list(self, *, limit: int = 100, before: int | None = None) -> list[AuditRecord]:
        """Return the newest rows first; `before` is the last `seq` of the page before."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.seq < before)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def verify(self, *, head: str | None = None) -> str:
        """Return the seal of the newest row when no row was changed, removed or put between; else raise Conflict.

        Rows cut off at the end leave no gap: who keeps the seal elsewhere and gives it as `head` finds that too.
        """
        previous, seen_head = START, head in (None, START)
        with self._database.read() as connection:
            for row in connection.execute(select(audit).order_by(audit.c.seq)):
                values = row._asdict()
                if row.previous != previous or not hmac.compare_digest(row.digest, _seal(values)):
                    raise Conflict(f"the audit log was changed at or before row {row.seq}", hint="compare a backup")
                previous = row.digest
                seen_head = seen_head or previous == head
        if not seen_head:
            raise Conflict("rows are missing at the end of the audit log", hint="compare a backup")
        return previous


def current_user() -> str:
    """Return the login name of the account this process runs under, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _seal(row: Mapping[str, Any]) -> str:
    covered = [row[key] for key in ("previous", "ts", "actor", "action", "subject", "before", "after")]
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _record(row: Row[Any]) -> AuditRecord:
    return AuditRecord(
        seq=row.seq,
        ts=row.ts,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        before=row.before,
        after=row.after,
    )
