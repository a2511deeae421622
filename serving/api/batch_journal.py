"""What a batch has been answered so far: a line an answer, appended as it comes, read again by whoever goes on."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.paths import write_atomically

ANSWERS, STATE, PLAN = "answers.jsonl", "state.json", "plan.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an answer is in the journal, and whether it is one: 200 and no error."""

    offset: int
    length: int
    ok: bool


class Journal:
    """The journal of one batch; each answer is one write, so that a killed process leaves no more than a torn end."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ANSWERS
        self.kept = _read(self._path)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        end = max((each.offset + each.length for each in self.kept.values()), default=0)
        os.ftruncate(self._file, end)  # a line that was torn would spoil the next

    def add(self, number: int, custom_id: str, line: Mapping[str, Any], *, ok: bool) -> None:
        """Append the answer to a request."""
        told = {"id": f"batch_req_{secrets.token_hex(16)}", "custom_id": custom_id, **line}
        raw = json.dumps({"number": number, "ok": ok, "line": told}, ensure_ascii=False)
        data = raw.encode("utf-8", "surrogatepass") + b"\n"
        offset = os.lseek(self._file, 0, os.SEEK_END)
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        self.kept[number] = Kept(offset, len(data), ok)

    def close(self) -> None:
        """Have it on the disk."""
        os.fsync(self._file)
        os.close(self._file)


def counts(kept: Mapping[int, Kept], total: int) -> dict[str, int]:
    """Return how many requests there are, are answered, have failed."""
    ok = sum(1 for each in kept.values() if each.ok)
    return {"total": total, "completed": ok, "failed": len(kept) - ok}


def join(folder: Path, outputs: Path, errors: Path) -> None:
    """Write the answers, and the errors, in the order of the requests; a file is there only where it has lines."""
    kept = _read(folder / ANSWERS)
    for target, ok in ((outputs, True), (errors, False)):
        numbers = sorted(number for number, each in kept.items() if each.ok is ok)
        if not numbers:
            continue
        with (folder / ANSWERS).open("rb") as source, target.open("w", encoding="utf-8", errors="replace") as out:
            for number in numbers:
                source.seek(kept[number].offset)
                line = json.loads(source.read(kept[number].length))["line"]
                out.write(json.dumps(line, ensure_ascii=False) + "\n")


def note(folder: Path, state: str, **more: Any) -> None:
    """Say how far the batch is, for whoever asks."""
    write_atomically(folder / STATE, json.dumps({"state": state, **more}))


def noted(folder: Path) -> dict[str, Any]:
    """Return what was said last."""
    try:
        found: dict[str, Any] = json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        return {"state": "validating"}
    return found


def _read(path: Path) -> dict[int, Kept]:
    found: dict[int, Kept] = {}
    offset = 0
    if not path.exists():
        return found
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                break  # torn: its process was killed while it wrote
            value = json.loads(raw)
            found[value["number"]] = Kept(offset, len(raw), value["ok"])
            offset += len(raw)
    return found
