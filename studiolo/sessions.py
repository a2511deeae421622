"""Browser sessions: a signed value in a cookie that says which token opened the door; never the token itself."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from workspace import Workspace
from workspace.errors import Denied
from workspace.paths import locked, write_atomically
from workspace.tokens import TokenRecord

LIFETIME = 30 * 86_400.0  # seconds
_FRESH = 5.0  # seconds for which a token that was valid is taken to be so: how soon a revoked one shuts the studio


@dataclass(slots=True)
class Sessions:
    """The sessions of one workspace: `sessions.open(token)` gives the cookie, `sessions.holder(cookie)` reads it."""

    workspace: Workspace
    _key: bytes = b""
    _seen: dict[str, tuple[float, TokenRecord | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._key = _key(self.workspace.home / "studio.key")

    def open(self, token: str) -> str:
        """Return the cookie of a new session; Denied where the token is not valid, or may ask some endpoints only."""
        record = self.workspace.tokens.check_whole(token.strip())
        with self.workspace.database.write() as connection:
            self.workspace.audit.record(connection, "studio.login", f"token:{record.id}")
        said = f"{record.id}.{int(time.time() + LIFETIME)}"
        return f"{said}.{self._sign(said)}"

    def holder(self, cookie: str) -> TokenRecord:
        """Return whose session it is; Denied where it was not given by us, is over, or its token was revoked."""
        said, _, signature = cookie.rpartition(".")
        identifier, _, until = said.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(said).encode()) or time.time() > int(until):
            raise Denied("not logged in")
        record = self._token(identifier)
        if record is None or not record.valid or record.endpoints is not None:
            raise Denied("the token of this session was revoked")
        return record

    def _token(self, identifier: str) -> TokenRecord | None:
        looked_at, record = self._seen.get(identifier, (0.0, None))
        if time.monotonic() - looked_at > _FRESH:
            record = next((known for known in self.workspace.tokens.list() if known.id == identifier), None)
            self._seen[identifier] = (time.monotonic(), record)
        return record

    def _sign(self, said: str) -> str:
        return hmac.new(self._key, said.encode(), hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    with locked(path.with_name("studio.key.lock")):
        if not path.exists():
            write_atomically(path, secrets.token_hex(32))
        return bytes.fromhex(path.read_text())
