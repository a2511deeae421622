"""Attempts as Ray tasks, asked for like Ray jobs: the driver that runs them is started when it is needed."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path

from jobs.folders import place_of, read_record
from jobs.ray import entry
from jobs.ray.api import Asked, Head, State
from workspace.paths import locked, write_atomically

RUNNING, FAILED = "RUNNING", "FAILED"


class Tasks:
    """What a head is asked of jobs, asked of the driver of tasks; `folder` is where both look."""

    def __init__(self, head: Head, folder: Path) -> None:
        self._head = head
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def submit(self, job: Asked) -> bool:
        """Have a task run; False where one of this name was asked for before."""
        if self._known(job.submission):
            return False
        asked = {
            "line": shlex.split(job.entrypoint.removeprefix("exec ")),
            "cpus": job.cpus,
            "gpus": job.gpus,
            "memory": job.memory,
        }
        write_atomically(self._folder / f"{job.submission}.task", json.dumps(asked))
        self._driver()
        return True

    def state(self, submission: str) -> State | None:
        """Return how a task goes; None where nobody has asked for it."""
        ended = read_record(self._folder / f"{submission}.ended")
        if ended is not None:
            return _state(FAILED, ended["message"])
        if (self._folder / f"{submission}.task").exists():
            self._driver()  # it may have gone at this moment
            return _state(RUNNING)
        if not (self._folder / f"{submission}.taken").exists():
            ended = read_record(self._folder / f"{submission}.ended")  # it may have ended between the two looks
            return None if ended is None else _state(FAILED, ended["message"])
        driver = self._head.state(self._called(self._number()))
        if driver is None or driver.ended:
            return _state(FAILED, "the driver of the tasks has died")
        return _state(RUNNING)

    def stop(self, submission: str) -> None:
        """Have a task end that has not begun; one that has sees the file that says so."""
        (self._folder / f"{submission}.stop").touch(mode=0o600)

    def forget(self, submission: str) -> None:
        """Take away what was left of a task that has ended."""
        for suffix in ("taken", "ended", "stop"):
            (self._folder / f"{submission}.{suffix}").unlink(missing_ok=True)

    def _known(self, submission: str) -> bool:
        return any((self._folder / f"{submission}.{each}").exists() for each in ("task", "taken", "ended"))

    def _driver(self) -> None:
        """Start the driver where none runs. Several who do start one: Ray runs no submission twice."""
        with locked(self._folder / "lock"):
            number = self._number()
            state = self._head.state(self._called(number))
            if state is not None and not state.ended:
                return
            if state is not None:
                number += 1
                write_atomically(self._folder / "driver.json", json.dumps({"number": number}))
            program = Path(entry.__file__).with_name("tasks.py")  # it cannot be imported: it needs Ray
            line = ["exec", sys.executable, "-P", str(program), str(self._folder)]
            self._head.submit(Asked(submission=self._called(number), entrypoint=shlex.join(line)))

    def _number(self) -> int:
        found = read_record(self._folder / "driver.json") or {}
        return int(found.get("number", 1))

    def _called(self, number: int) -> str:
        return f"studiolo-tasks-{self._folder.name}-{number}"


def _state(status: str, message: str = "") -> State:
    return State(status=status, message=message, node="", code=None)


def folder_of(home: Path, url: str) -> Path:
    """Return where the tasks of a workspace on a cluster are asked for; no two workspaces have the same name."""
    return home / "ray" / hashlib.sha256(f"{place_of(home)} {url}".encode()).hexdigest()[:12]
