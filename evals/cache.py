"""Answers that are kept, by everything that they depend on: what is asked again costs nothing.

The key is the digest of the target with its model's revision, the whole request, the seed and the number of the
repeat. One file in the workspace serves all runs; whoever cannot have it works without.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

FILE = "eval-cache.db"
TOGETHER = 512  # answers that are written at once
_BUSY = 2.0  # seconds
_SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID"


class Cache:
    """The kept answers of a workspace. `hits` counts those that were found."""

    def __init__(self, home: Path) -> None:
        self.hits = 0
        self.trouble: str | None = None
        self._new: dict[bytes, bytes] = {}
        self._file: sqlite3.Connection | None = None
        try:
            self._file = sqlite3.connect(home / FILE, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            (home / FILE).chmod(0o600)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def get(self, key: bytes) -> dict[str, Any] | None:
        """Return the answer that is kept under a key."""
        if self._file is None:
            return None
        raw = self._new.get(key)
        if raw is None:
            try:
                row = self._file.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
            raw = None if row is None else row[0]
        if raw is None:
            return None
        self.hits += 1
        found: dict[str, Any] = orjson.loads(raw)
        return found

    def put(self, key: bytes, answer: Mapping[str, Any]) -> None:
        """Keep an answer; it is written with others, at `close` at the latest."""
        if self._file is not None:
            self._new[key] = orjson.dumps(answer)
            if len(self._new) >= TOGETHER:
                self._write()

    def close(self) -> None:
        """Write what is not written, and close the file."""
        self._write()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        new, self._new = self._new, {}
        if self._file is None or not new:
            return
        try:
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", new.items())
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on without: a cache is no reason to stop, and the run says that it had none."""
        self.trouble = f"answers are not kept: {error}"
        if self._file is not None:
            self._file.close()
        self._file = None


def key_of(*parts: Any) -> bytes:
    """Return the key of what an answer depends on, whatever the order of keys in it."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS, default=str)).digest()
