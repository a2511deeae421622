"""The data collector: requests, answers and what a model was given, kept as CloudEvents without slowing an answer.

Files are `modelDataCollector/ENDPOINT/DEPLOYMENT/COLLECTION/yyyy/MM/dd/HH/INSTANCE.jsonl` in the workspace. What comes
faster than the disk takes it is dropped and counted; secrets that can be recognised are not written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import queue
import random
import re
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = "modelDataCollector"
ASIDE = 4_000_000  # bytes of a payload that go into a file of their own
WAITING = 32_000_000  # bytes that may wait for the disk
MASK = "******"
AGENT = "studiolo"
_SPANS = {"minute": "%Y/%m/%d/%H/%M", "hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d"}
_HIDDEN_HEADERS = frozenset({"authorization", "cookie", "set-cookie", "proxy-authorization", "api-key", "x-api-key"})
_SECRETS = re.compile(
    rb"(?P<member>\"(?:[\w-]*(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token)[\w-]*|token|"
    rb"authorization)\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""
    rb"|(?P<bearer>\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    rb"|\b(?:sk-[A-Za-z0-9_-]{16,}|st_[0-9a-f]{16}_[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}"
    rb"|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})",
    re.IGNORECASE,
)

log = logging.getLogger(__name__)


class Writer:
    """One thread that writes for any number of keepers."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[tuple[Path, dict[str, Any], bytes] | None] = queue.SimpleQueue()
        self._size = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def put(self, path: Path, event: dict[str, Any], payload: bytes) -> None:
        """Have an event written; nothing is waited for."""
        with self._lock:
            if self._size + len(payload) > WAITING:
                self.dropped += 1
                return
            self._size += len(payload)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="data-collector", daemon=True)
                self._thread.start()
        self._lines.put((path, event, payload))

    def close(self) -> None:
        """Write what waits, and end."""
        self._lines.put(None)
        if self._thread is not None:
            self._thread.join(10.0)

    def _write(self) -> None:
        while (item := self._lines.get()) is not None:
            path, event, payload = item
            try:
                _append(path, event, payload)
            except OSError as error:
                log.warning("the data collector cannot write %s: %s", path, error.strerror)
            finally:
                with self._lock:
                    self._size -= len(payload)


class Keeper:
    """What one deployment keeps: which collections, and of how many requests."""

    def __init__(
        self, writer: Writer, home: Path, endpoint: str, deployment: str, collected: Mapping[str, Any]
    ) -> None:
        self.writer = writer
        self.collections = frozenset(map(str, collected.get("collections", ())))
        self.headers = tuple(collected.get("headers", ()))
        self._rate = float(collected.get("sampling_rate", 1.0))
        self._span = _SPANS[str(collected.get("rolling_rate", "hour"))]
        self._folder = home / FOLDER / endpoint / deployment
        self._source = f"/endpoints/{endpoint}/deployments/{deployment}"
        self._instance = f"{os.getpid()}-{random.randrange(16**4):04x}"  # noqa: S311  a name, no secret

    @classmethod
    def of(cls, home: str, endpoint: str, deployment: str, collected: Mapping[str, Any] | None) -> Keeper:
        """Return a keeper with a writer of its own; with nothing to keep it keeps nothing."""
        return cls(Writer(), Path(home), endpoint, deployment, collected or {})

    def wants(self, collection: str, correlation: str) -> bool:
        """Whether this is one of those that are kept; of one request all collections are, or none."""
        if collection not in self.collections or self._rate <= 0:
            return False
        point = int.from_bytes(hashlib.blake2b(correlation.encode(), digest_size=8).digest(), "big") / 2**64
        return point < self._rate

    def keep(self, collection: str, payload: bytes, *, correlation: str, more: Mapping[str, Any] | None = None) -> None:
        """Have a payload written where it is one of those that are kept."""
        if not self.wants(collection, correlation):
            return
        now = datetime.now(UTC)
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": self._source,
            "type": f"azureml.inference.{collection}",
            "datacontenttype": "application/json",
            "time": now.isoformat().replace("+00:00", "Z"),
            "correlationid": correlation,
            "xrequestid": correlation,
            "agent": AGENT,
            **(more or {}),
        }
        path = self._folder / collection / now.strftime(self._span) / f"{self._instance}.jsonl"
        self.writer.put(path, event, payload)

    def take(self, header: Mapping[str, Any], body: bytes) -> None:
        """Keep what the code of a deployment has collected."""
        correlation = str(header.get("correlation") or uuid.uuid4())
        more = {"collectdatatype": header.get("type")}
        self.keep(str(header.get("collection", "")), body, correlation=correlation, more=more)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()


def without_secrets(payload: bytes) -> bytes:
    """Return bytes without what looks like a secret: known forms of keys, and members of JSON that are called so.

    >>> without_secrets(b'{"api_key": "abc", "text": "Bearer 0123456789"}')
    b'{"api_key": "******", "text": "Bearer ******"}'
    """

    def hide(found: re.Match[bytes]) -> bytes:
        if found["member"]:
            return found["member"] + b'"' + MASK.encode() + b'"'
        return (found["bearer"] or b"") + MASK.encode()

    return _SECRETS.sub(hide, payload)


def shown_headers(headers: Mapping[bytes, bytes], wanted: tuple[str, ...]) -> dict[str, str]:
    """Return the headers that were asked for, those with credentials masked."""
    found = {}
    for name in wanted:
        if (value := headers.get(name.encode())) is not None:
            found[name] = MASK if name in _HIDDEN_HEADERS else value.decode("latin-1")
    return found


def _append(path: Path, event: dict[str, Any], payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    payload = without_secrets(payload)
    if len(payload) > ASIDE:
        beside = path.with_name(f"{path.stem}_{event['id']}.bin")
        _write_all(beside, payload)
        event = {**event, "dataref": beside.name}
    else:
        event = {**event, "data": _data(payload)}
    _write_all(path, json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _data(payload: bytes) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(payload)
    return payload.decode("utf-8", "replace")


def _write_all(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, content)
    finally:
        os.close(handle)
