"""What the process that trains is told, and what it tells: a plan in a file, and events in another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finetune.language.spec import TuneJob
from jobs.files import job_of
from jobs.files.plain import plain
from workspace.paths import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One training: what was asked for, where everything lies, and what of the machine it may take.

    `work` outlives a process that is killed, `output` is where the model goes; `memory` is in bytes, 0: all there is.
    `base_name` is what the model is called that it begins with.
    """

    job: TuneJob
    base: Path
    base_name: str
    data: Path
    validation: Path | None
    work: Path
    output: Path
    threads: int
    memory: int = 0

    @property
    def checkpoints(self) -> Path:
        """Where it goes on from."""
        return self.work / "checkpoints"

    @property
    def events(self) -> Path:
        """What it tells, one JSON a line."""
        return self.work / "events.jsonl"

    @property
    def error(self) -> Path:
        """Why it ended, where it did not end well."""
        return self.work / "error.json"

    def write(self, path: Path) -> None:
        """Write it down, for the process."""
        told = {name: getattr(self, name) for name in self.__slots__}
        told |= {"job": plain(self.job), "folder": str(self.job.folder)}
        write_atomically(path, json.dumps(told, default=str))

    @classmethod
    def read(cls, path: Path) -> Given:
        """Read it again."""
        told = json.loads(path.read_text(encoding="utf-8"))
        job = job_of(told.pop("job"), Path(told.pop("folder")))
        assert isinstance(job, TuneJob)  # noqa: S101  it was one when it was written
        validation = told.pop("validation")
        folders: dict[str, Any] = {name: Path(told.pop(name)) for name in ("base", "data", "work", "output")}
        return cls(job=job, validation=Path(validation) if validation else None, **folders, **told)

    def alone(self, folder: Path) -> Given:
        """Return the same training elsewhere: `given.alone(tmp_path)` shares nothing with this one."""
        return replace(self, work=folder / "work", output=folder / "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened: a step, a validation, a sample, a saved checkpoint, or words for the log."""

    kind: str
    step: int = 0
    values: Mapping[str, float] | None = None
    words: str = ""
    detail: Mapping[str, Any] | None = None


def tell(path: Path, event: Event) -> None:
    """Add an event; a process that is killed meanwhile leaves half a line, which nobody reads."""
    line = {key: value for key, value in asdict(event).items() if value not in (None, "", {})}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def events(path: Path, start: int = 0) -> Iterator[tuple[int, Event]]:
    """Yield events from a place of the file on, each with the place behind it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if not line.endswith(b"\n"):
                return
            try:
                yield start, Event(**{"kind": "words", **json.loads(line)})
            except ValueError:  # half a line, behind which another process went on
                continue
