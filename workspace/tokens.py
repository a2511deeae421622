"""Login tokens: 256 random bits shown once, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import Row, insert, select, update

from workspace.audit import Audit
from workspace.database import Database
from workspace.errors import Denied, Invalid, NotFound, did_you_mean
from workspace.paths import locked, write_atomically
from workspace.tables import tokens

Role = Literal["admin", "contributor", "viewer"]
ROLES: tuple[str, ...] = get_args(Role)
_MARK = "st"  # a token reads st_<id>_<secret>, so that one that leaked is recognised
_DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is known of a token; the token itself is not."""

    id: str
    name: str
    role: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    endpoints: tuple[str, ...] | None = None  # what it may ask; None: everything
    limits: Mapping[str, Any] | None = None  # as `serving.key_limits` reads them

    @property
    def valid(self) -> bool:
        """Whether the token opens the door now."""
        return self.revoked_at is None and (self.expires_at is None or time.time() < self.expires_at)


class Tokens:
    """The tokens of one workspace."""

    def __init__(self, database: Database, audit: Audit, home: Path) -> None:
        self._database = database
        self._audit = audit
        self._file = home / "token"

    def create(
        self,
        name: str,
        role: Role = "admin",
        *,
        days: float | None = None,
        endpoints: Sequence[str] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a new token; this is the only time anybody sees it.

        `endpoints` are all that it may ask, `limits` how much of it, as `serving.key_limits` describes them.
        """
        if role not in ROLES:
            raise Invalid(f"no role {role!r}", hint=did_you_mean(role, ROLES))
        if days is not None and days <= 0:
            raise Invalid(f"a token must last more than {days} days", hint="leave days out for one without an end")
        identifier = secrets.token_hex(8)
        token = f"{_MARK}_{identifier}_{secrets.token_urlsafe(32)}"
        now = time.time()
        row = {
            "id": identifier,
            "name": name,
            "role": role,
            "created_at": now,
            "expires_at": None if days is None else now + days * _DAY,
            "endpoints": None if endpoints is None else list(endpoints),
            "limits": None if limits is None else dict(limits),
        }
        with self._database.write() as connection:
            connection.execute(insert(tokens).values(**row, digest=_digest(token)))
            self._audit.record(connection, "token.create", f"token:{identifier}", after=row)
        return token

    def check(self, token: str) -> TokenRecord:
        """Return who the token stands for; Denied, always in the same words, where it opens nothing."""
        parts = token.split("_", 2)
        identifier = parts[1] if len(parts) == 3 else ""
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == identifier[:16])).first()
        known = row.digest if row else _digest("")
        if not hmac.compare_digest(known, _digest(token)) or row is None or not _record(row).valid:
            raise Denied("the token is not valid", hint=f"this workspace's own token is in {self._file}")
        return _record(row)

    def check_whole(self, token: str) -> TokenRecord:
        """Return who the token stands for; Denied also where it is a key that asks some endpoints and nothing else."""
        record = self.check(token)
        if record.endpoints is not None:
            raise Denied("this key asks endpoints only", hint=f"this workspace's own token is in {self._file}")
        return record

    def stand_in(self, holder: TokenRecord, identifier: str) -> TokenRecord:
        """Return the living token with this id, for whom an admin acts; Denied to everybody else."""
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == identifier[:16])).first()
        if holder.role != "admin" or row is None or not _record(row).valid:
            raise Denied("the token cannot stand in for that one", hint="only one of role admin can")
        return _record(row)

    def revoke(self, identifier: str) -> None:
        """Close a token for good, at once."""
        with self._database.write() as connection:
            statement = update(tokens).where(tokens.c.id == identifier, tokens.c.revoked_at.is_(None))
            if connection.execute(statement.values(revoked_at=time.time())).rowcount:
                self._audit.record(connection, "token.revoke", f"token:{identifier}")
            elif connection.execute(select(tokens.c.id).where(tokens.c.id == identifier)).first() is None:
                raise NotFound(f"no token {identifier!r}", hint="give the id, not the token")

    def list(self) -> list[TokenRecord]:
        """Return all tokens, newest first, closed ones too."""
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(select(tokens).order_by(tokens.c.created_at.desc()))]

    def local(self) -> str:
        """Return the workspace's own token, made on first use and kept in `token`, readable by its owner only."""
        with locked(self._file.with_name("token.lock")):
            token = self._file.read_text().strip() if self._file.exists() else ""
            if not self._opens(token):
                token = self.create("local")
                write_atomically(self._file, token + "\n")
        return token

    def _opens(self, token: str) -> bool:
        try:
            return bool(token) and self.check(token).role == "admin"
        except Denied:
            return False


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _record(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        role=row.role,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        endpoints=None if row.endpoints is None else tuple(row.endpoints),
        limits=row.limits,
    )
