"""Follows one attempt that runs on a Ray cluster: asks for it once, says what it says, and tells how it ended.

It is the process that a shim watches in place of the command. Where it dies, Ray goes on, and another one follows: what
has this name is never run twice.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from jobs.folders import AttemptFolder, read_record
from jobs.ray.api import Asked, Head, State
from jobs.ray.files import Files, RemoteFiles, SharedFiles
from jobs.ray.task_driver import Tasks
from jobs.states import LOST
from workspace.errors import Denied, Invalid, StudioloError
from workspace.paths import write_atomically

SILENCE = 30.0  # seconds without an answer after which a head counts as dead
SETTLING = 5.0  # seconds after Ray's word for the end, for the record of it to appear
LOOK = 1.0  # seconds between two questions to the head
NAP = 0.05
PLAN, ASKED, OUTCOME = "ray.json", "ray.asked", "ray.end.json"
_NOTHING: dict[str, Any] = {"code": None, "ending": None, "error": None, "usage": {}}  # it was ended by us


class Conductor:
    """One attempt as it is followed."""

    def __init__(self, plan: Mapping[str, Any], folder: AttemptFolder, say: Callable[[bytes], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._name = str(plan["submission"])
        head = Head.of(plan["url"], plan["token"])
        self._head = Tasks(head, Path(plan["tasks"])) if plan["tasks"] else head
        self._files: Files = SharedFiles(folder) if plan["shared"] else RemoteFiles(folder, head, self._name)
        self._say = say
        self._heard = time.monotonic()
        self._problem = ""  # what the head has answered last, where it has not told
        self._state: State | None = None
        self._stopping = threading.Event()
        self._stop_at = 0.0

    def stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Have the attempt end."""
        self._stopping.set()

    def forget(self) -> None:
        """Take away what was left for who runs the attempt: its end is written down."""
        if isinstance(self._head, Tasks):
            self._head.forget(self._name)

    def run(self, skip: int) -> dict[str, Any]:
        """Follow the attempt to its end and return how it ended; the first `skip` bytes of its log are known."""
        self._files.skip(skip)
        if (refused := self._submitted()) is not None:
            return refused
        ended_at = asked_at = 0.0
        while True:
            self._pump()
            if (record := self._files.ended()) is not None:
                self._pump()
                return {key: record.get(key) for key in ("code", "ending", "error", "usage")}
            if self._stopping.is_set() and self._end():
                return _NOTHING
            now = time.monotonic()
            if now - asked_at >= LOOK:
                asked_at = now
                self._ask()
            if self._state is not None and self._state.ended:
                ended_at = ended_at or now
                if now - ended_at > SETTLING:
                    return self._without_record(self._state)
            elif now - self._heard > SILENCE:
                return self._silent()
            time.sleep(NAP)

    def _submitted(self) -> dict[str, Any] | None:
        """Ask for the attempt, until somebody answers; return how it ended where it cannot begin."""
        asked = self._folder.path / ASKED
        before = asked.exists()  # by another one, who has died: the head that was asked is not this one
        while not self._stopping.is_set():
            try:
                if self._head.state(self._name) is None:
                    if before:
                        return _lost(self._unknown)
                    self._files.send(self._plan)
                    asked.touch(mode=0o600)
                    self._head.submit(_asked(self._plan, self._files))
                self._heard = time.monotonic()
                return None
            except (Denied, Invalid) as problem:
                return {"code": None, "ending": "Refused", "error": _told(problem), "usage": {}}
            except StudioloError as problem:
                self._problem = str(problem)
                if time.monotonic() - self._heard > SILENCE:
                    return self._silent()
                time.sleep(LOOK)
        return _NOTHING

    def _ask(self) -> None:
        try:
            self._state = self._head.state(self._name)
            self._heard = time.monotonic()
        except StudioloError as problem:
            self._problem = str(problem)
            return  # asked again, until it has been silent for long
        if self._state is None:
            self._state = State(status="FAILED", message=self._unknown, node="", code=None)
        elif self._state.node:
            self._files.at(self._state.node)

    def _end(self) -> bool:
        """Ask the attempt to end by a file, which works without a head too, then have Ray end it.

        Return whether it is over already: one that has not begun finds the file, and does not begin.
        """
        now = time.monotonic()
        begun = True if self._stop_at else self._files.stop()
        if not self._stop_at:
            gentle = begun and self._plan["shared"]
            self._stop_at = now + (float(self._plan["grace"]) + 1.0 if gentle else 0.0)
        if now >= self._stop_at:
            self._stop_at = now + SETTLING
            with suppress(StudioloError):  # asked again
                self._head.stop(self._name)
        return not begun

    def _pump(self) -> None:
        for chunk in self._files.said():
            self._say(chunk)

    def _without_record(self, state: State) -> dict[str, Any]:
        if self._stopping.is_set():
            return _NOTHING
        if state.status == "STOPPED":
            error = "the Ray job was stopped by somebody else"
        else:
            last = next((line for line in reversed(state.message.splitlines()) if line.strip()), "")
            error = f"the Ray job ended without a word: {last or state.status}"
        return _lost(error)

    def _silent(self) -> dict[str, Any]:
        self._files.stop()  # whoever still runs it, and sees our files, ends it
        time.sleep(2 * NAP)
        return _lost(f"the Ray cluster at {self._plan['url']} has not answered for {SILENCE:g} s ({self._problem})")

    @property
    def _unknown(self) -> str:
        return f"the Ray cluster at {self._plan['url']} does not know the job any more: its head was replaced"


def _lost(error: str) -> dict[str, Any]:
    return {"code": None, "ending": LOST, "error": error, "usage": {}}


def _asked(plan: Mapping[str, Any], files: Files) -> Asked:
    return Asked(
        submission=plan["submission"], entrypoint=plan["entrypoint"], cpus=plan["cpus"], gpus=plan["gpus"],
        memory=plan["memory"], metadata={"studiolo.job": plan["job"]},
        runtime_env={**files.runtime_env, "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(int(plan["grace"]) + 1)}},
    )  # fmt: skip


def _told(problem: StudioloError) -> str:
    return f"{problem}; {problem.hint}" if problem.hint else str(problem)


def _write(chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(1, chunk) :]


def main() -> int:
    """Follow the attempt whose folder is given, from this byte of its log on."""
    folder = AttemptFolder(Path(sys.argv[1]))
    conductor = Conductor(read_record(folder.path / PLAN) or {}, folder, _write)
    signal.signal(signal.SIGTERM, conductor.stop)
    outcome = conductor.run(int(sys.argv[2]))
    write_atomically(folder.path / OUTCOME, json.dumps(outcome))
    conductor.forget()
    return 0


if __name__ == "__main__":
    sys.exit(main())
