"""The trials of a sweep: what each was given, what it has logged, how it ended. What was decided is kept in a journal.

The journal is the sweep's memory: it is written before a trial is begun, so that a process that comes after goes on
with the same trials. What trials log and how they end is in the records of their own jobs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import run_log, states
from jobs.files.sweep import SweepJob
from jobs.folders import job_folder
from jobs.sweeps.spaces import Value
from workspace.errors import Unavailable
from workspace.home import Workspace
from workspace.light_database import LightDatabase, from_json
from workspace.paths import writing


@dataclass(slots=True)
class Trial:
    """One set of values and what came of it."""

    number: int
    values: Mapping[str, Value]
    drawn: Mapping[str, Any] = field(default_factory=dict)
    job: str = ""
    run_id: str = ""
    status: str = ""
    cut: str = ""  # why it was ended early
    error: str = ""
    history: list[float] = field(default_factory=list)  # the primary metric, each time it was logged
    least: float | None = None  # of the numbers among them
    most: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in states.TERMINAL

    def hear(self, value: float) -> None:
        """Take note of what it has logged."""
        self.history.append(value)
        if not math.isnan(value):
            self.least = value if self.least is None else min(self.least, value)
            self.most = value if self.most is None else max(self.most, value)

    def score(self, *, maximize: bool) -> float | None:
        """Return the best value that it has logged, or None where it has logged no number."""
        return self.most if maximize else self.least


class Journal:
    """What a sweep has decided, a line each, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, workspace: Workspace, sweep: str) -> Journal:
        """Return the journal of a sweep."""
        return cls(job_folder(workspace.home, sweep) / "work" / "trials.jsonl")

    def add(self, **decided: Any) -> None:
        """Write a line; a disk that is full is said so, and the line is not half there."""
        line = json.dumps(decided).encode() + b"\n"
        with writing(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(handle).st_size
                if os.write(handle, line) < len(line):
                    os.ftruncate(handle, size)
                    raise Unavailable(f"{self._path} cannot be written: the disk is full")
            finally:
                os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """Return the lines. What a power cut has left of the last one counts as not written."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]

    def trials(self) -> dict[int, Trial]:
        """Return the trials that were decided on, with what was decided about them."""
        found: dict[int, Trial] = {}
        for line in self.read():
            if "trial" in line:
                found[line["trial"]] = Trial(line["trial"], line["values"], line["drawn"], job=line["job"])
            elif "cut" in line:
                found[line["cut"]].cut = line["why"]
        return found


def refresh(database: LightDatabase, trials: Iterable[Trial]) -> None:
    """Bring what is known of trials to what the records of their jobs say."""
    for trial in trials:
        rows = database.rows("SELECT status, run_id, error FROM jobs WHERE name = :name", name=trial.job)
        if rows:
            trial.status, trial.run_id = rows[0]["status"], rows[0]["run_id"]
            trial.error = rows[0]["error"] or ""


def known(workspace: Workspace, sweep: str, metric: str) -> list[Trial]:
    """Return the trials of a sweep with all that is known of them, in order: `known(workspace, "tune", "auc")`."""
    trials = Journal.of(workspace, sweep).trials()
    refresh(workspace.light, trials.values())
    of_run = {trial.run_id: trial for trial in trials.values() if trial.run_id}
    for point in run_log.logged(workspace.light, of_run, metric):
        of_run[point.run_id].hear(point.value)
    return [trials[number] for number in sorted(trials)]


def best(trials: Iterable[Trial], *, maximize: bool) -> Trial | None:
    """Return the best of those that have completed; of equals the first."""
    scored = [
        (score, trial)
        for trial in trials
        if trial.status == states.COMPLETED and (score := trial.score(maximize=maximize)) is not None
    ]
    if not scored:
        return None
    return min(scored, key=lambda each: (-each[0] if maximize else each[0], each[1].number))[1]


def tag(database: LightDatabase, job: str, **tags: str) -> None:
    """Give a job words to be found by."""
    with database.write() as statements:
        row = statements.rows("SELECT tags FROM jobs WHERE name = :name", name=job)[0]
        written = json.dumps(from_json(row["tags"]) | tags)
        statements.change("UPDATE jobs SET tags = :tags WHERE name = :name", name=job, tags=written)


def is_maximized(job: SweepJob) -> bool:
    """Whether more of the primary metric is better."""
    return job.objective.goal == "maximize"
