"""Where processes leave what happened: a segment of lines each, brought into the database without loss or double.

A process appends to its own file, `spool/<pid>-<start>.<host>.jsonl`, and needs no database for it; whoever has one
ingests. Each event bears an id, so reading a segment twice changes nothing, and nobody waits for anybody.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from workspace.errors import Invalid, Unavailable
from workspace.light_database import LightDatabase, Statements, to_json
from workspace.nodes import keep_edges
from workspace.paths import write_atomically
from workspace.processes import Identity, host, is_alive, own_identity

BATCH = 1_000  # events in one transaction
LONGEST = 16_000_000  # bytes of one line
_SEGMENT = re.compile(r"(?P<pid>\d+)-(?P<start>\d+(?:\.\d+)?)\.(?P<host>[\w.-]+)\.jsonl")


class Spool:
    """The segments in one folder, and the database they end up in (None where a process only writes)."""

    def __init__(self, folder: Path, database: LightDatabase | None = None) -> None:
        self.folder = folder
        self._database = database
        self._lock = threading.Lock()
        self._handle = -1
        self._owner = -1  # the process that opened the handle

    def append(
        self,
        kind: str,
        payload: Mapping[str, Any],
        *,
        event_id: str | None = None,
        run_id: str | None = None,
        durable: bool = False,
    ) -> str:
        """Leave one event in this process's segment and return its id; once returned it survives this process.

        A durable one survives a power cut too. The same `event_id` given twice is one event.
        """
        event = {
            "event_id": event_id or uuid.uuid4().hex,
            "kind": kind,
            "ts": time.time(),
            "run_id": run_id,
            "payload": _plain(payload),
        }
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > LONGEST:
            raise Invalid(f"an event of {len(line):,} bytes is too long", hint="put the content into an artifact")
        with self._lock:
            self._write(line, durable)
        return str(event["event_id"])

    def append_many(self, kind: str, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Leave many events, each with its id, by one write; as `append` otherwise."""
        now = time.time()
        lines = [
            _line({"event_id": name, "kind": kind, "ts": now, "run_id": None, "payload": payload})
            for name, payload in payloads
        ]
        with self._lock:
            self._write(b"".join(lines), durable=False)

    def ingest(self) -> int:
        """Bring what was left into the database and return how many events were new.

        A line that is not whole yet is left for the next time; a segment goes once its events are committed and its
        owner is dead. Any number of processes may do this at once.
        """
        return sum(self._ingest_segment(path, match) for path, match in self._segments())

    def close(self) -> None:
        """Close the segment; the next `append` opens it again."""
        with self._lock:
            if self._handle >= 0 and self._owner == os.getpid():
                os.close(self._handle)
            self._handle = self._owner = -1

    def _write(self, line: bytes, durable: bool) -> None:
        try:
            if self._owner != os.getpid():  # the first write, or the first one after a fork
                self._handle, self._owner = os.open(self._own_segment(), _FLAGS, 0o600), os.getpid()
            # One call, so that lines of several threads or handles never mix.
            written = os.write(self._handle, line)
            if written < len(line):
                os.write(self._handle, b"\n")  # closes the torn line: the next one starts clean
                raise Unavailable(f"cannot write to {self.folder}: the disk is full", hint="run `studiolo doctor`")
            if durable:
                os.fdatasync(self._handle)
        except OSError as error:
            raise Unavailable(
                f"cannot write to {self.folder}: {error.strerror}", hint="run `studiolo doctor`"
            ) from error

    def _own_segment(self) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder / segment_name(own_identity())

    def _segments(self) -> list[tuple[Path, re.Match[str]]]:
        if not self.folder.exists():
            return []
        found = [(path, _SEGMENT.fullmatch(path.name)) for path in sorted(self.folder.iterdir())]
        return [(path, match) for path, match in found if match]

    def _ingest_segment(self, path: Path, match: re.Match[str]) -> int:
        # Asked before reading: had it died later, it may have written after we read.
        ended = match["host"] == _own_host() and not is_alive(Identity(int(match["pid"]), float(match["start"])))
        mark = path.with_name(path.name + ".read")
        new, start = 0, _read_mark(mark)
        try:
            for batch, end in _batches(path, start):
                new += self._keep(batch)
                start = end
            if ended:
                path.unlink(missing_ok=True)
                mark.unlink(missing_ok=True)
            elif start != _read_mark(mark):
                write_atomically(mark, str(start))
        except FileNotFoundError:  # another ingester finished it
            mark.unlink(missing_ok=True)
        return new

    def _keep(self, batch: list[dict[str, Any]]) -> int:
        if (database := self._database) is None:
            raise Invalid("this process has no database to bring events into", hint="open the workspace")

        def work(statements: Statements) -> int:
            rows = [event | {"payload": to_json(event["payload"])} for event in batch]
            new = statements.change_many(
                "INSERT INTO events (event_id, kind, ts, run_id, payload) "
                "VALUES (:event_id, :kind, :ts, :run_id, :payload) ON CONFLICT DO NOTHING",
                rows,
            )
            keep_edges(statements, [edge for event in batch if event["kind"] == "lineage" for edge in _edges(event)])
            return new

        # Numbered in the order of commit: readers go by the number.
        return database.transact(work, hold=("events",))


def _line(event: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # what orjson refuses, such as half an emoji; who ingests makes the rest plain
        return json.dumps(_plain(event), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def segment_name(who: Identity) -> str:
    """Return the name of a process's segment; the host is in it because machines may share the folder."""
    return f"{who.pid}-{who.started_at:.2f}.{_own_host()}.jsonl"


def _own_host() -> str:
    return re.sub(r"[^\w.-]", "_", host())


def _read_mark(mark: Path) -> int:
    try:
        return int(mark.read_text())
    except (OSError, ValueError):
        return 0  # reading again is harmless


def _batches(path: Path, start: int) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield events that are whole, and where the next one starts."""
    batch: list[dict[str, Any]] = []
    with path.open("rb") as file:
        end = file.seek(min(start, path.stat().st_size))
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            if event := _event(line):
                batch.append(event)
            if len(batch) == BATCH:
                yield batch, end
                batch = []
    yield batch, end


def _event(line: bytes) -> dict[str, Any] | None:
    """Return a line as a row, or None where it is torn or foreign: it never was an event."""
    try:
        raw = json.loads(line)
        ts = float(raw["ts"])
        if not isinstance(raw["payload"], dict) or not raw["event_id"] or not math.isfinite(ts):
            return None
        return {
            "event_id": _plain(str(raw["event_id"]))[:64],
            "kind": _plain(str(raw["kind"]))[:32],
            "ts": ts,
            "run_id": None if raw.get("run_id") is None else _plain(str(raw["run_id"]))[:32],
            "payload": _plain(raw["payload"]),
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _edges(event: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Return what an OpenLineage event of ours says: inputs → run → outputs."""
    run_id = event["run_id"]
    if not run_id:
        return
    for side in ("inputs", "outputs"):
        for dataset in event["payload"].get(side) or ():
            node = _plain(str(dataset.get("name", "")))[:400] if isinstance(dataset, dict) else ""
            if node:
                ends = (node, f"run:{run_id}") if side == "inputs" else (f"run:{run_id}", node)
                yield {"source": ends[0], "target": ends[1], "run_id": run_id, "created_at": event["ts"]}


def _plain(value: Any) -> Any:
    """Return what JSON and both databases can hold: no NaN, no NUL, no lone surrogates, text for all else."""
    if isinstance(value, str):
        return value.replace("\0", "�").encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(_plain(str(key))): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return _plain(str(value))
