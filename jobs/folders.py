"""Where the files of a job lie: a folder a job, and in it a folder for each attempt that nothing else writes to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.errors import Unavailable
from workspace.paths import locked, write_atomically

TAKEN = ("place", "place.lock", "idle", "kept", "reuse", "supervisor.lock")  # what lies beside the folders of jobs


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """The folder of one attempt. `claim`, `running` and `exit` appear in this order, each whole."""

    path: Path

    @property
    def claim(self) -> Path:
        """Made by the one process that runs the attempt, which nobody can do a second time."""
        return self.path / "claim.json"

    @property
    def running(self) -> Path:
        """Written before the command may begin: without it, the command never ran."""
        return self.path / "running.json"

    @property
    def exit(self) -> Path:
        """How the command ended."""
        return self.path / "exit.json"

    @property
    def code(self) -> Path:
        """Where the command runs."""
        return self.path / "code"

    @property
    def inputs(self) -> Path:
        """What the command reads, by name."""
        return self.path / "inputs"

    @property
    def outputs(self) -> Path:
        """What the command writes, by name; nobody else looks here."""
        return self.path / "outputs"

    @property
    def logs(self) -> Path:
        """What the command says."""
        return self.path / "user_logs"

    @property
    def samples(self) -> Path:
        """What the command takes, a line every few seconds; it is the heartbeat of the shim too."""
        return self.path / "samples.jsonl"

    @property
    def python(self) -> Path:
        """What the command runs with, where that is an environment of its own."""
        return self.path / "python.json"

    @property
    def finished(self) -> Path:
        """What a parallel step has finished, for the attempts after this one."""
        return self.path / "finished"

    @property
    def told(self) -> Path:
        """Why a job of ours failed, in its own words."""
        return self.path / "error.txt"

    @property
    def cancel(self) -> Path:
        """There when the job is to end."""
        return self.path / "cancel"


def job_folder(home: Path, name: str) -> Path:
    """Return the folder of a job."""
    return home / "jobs" / name


def attempt_folder(home: Path, name: str, number: int) -> AttemptFolder:
    """Return the folder of one attempt."""
    return AttemptFolder(job_folder(home, name) / str(number))


def outputs_of(home: Path, name: str) -> Path:
    """Return where the outputs of a job are once it has completed: they come there in one step."""
    return job_folder(home, name) / "outputs"


def place_of(home: Path) -> str:
    """Return what this home is called in the records: a job is run where its files are, whoever shares the database."""
    path = home / "jobs" / "place"
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(home / "jobs" / "place.lock"):
        if not path.exists():
            write_atomically(path, os.urandom(16).hex())
    return path.read_text()


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what a file of an attempt says, or None where it is not there."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise Unavailable(f"{path} is damaged", hint="the disk was full or gave an error: `studiolo doctor`") from None
    return found
