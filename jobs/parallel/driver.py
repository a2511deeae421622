"""The process of a parallel job: it hands mini-batches to worker processes and joins the rows that they return.

Standard library only, from Python 3.8 on: it runs in the job's own Python, which knows nothing of Studiolo. It is told
a plan in STUDIOLO_PARALLEL; its arguments are those of the script.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from jobs.parallel import worker
from jobs.parallel.schedule import Limits, MiniBatch, Schedule
from jobs.parallel.tables import Unreadable, mini_batches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PLAN = "STUDIOLO_PARALLEL"
TOLD = 5.0  # seconds between two lines about how far it is
STARTING = 600.0  # seconds for a script to be loaded and for its `init()`
PATIENCE = 10.0  # seconds for a worker to shut down
JOINED = "parallel_run_step.txt"  # where rows go in an output that is a folder


class Broken(Exception):
    """The script cannot be begun: trying again would not help."""


class Worker:
    """One process and the channel to it."""

    def __init__(self, plan: Mapping[str, Any], arguments: Sequence[str]) -> None:
        self.channel, theirs = socket.socketpair()
        line = [sys.executable, worker.__file__, str(theirs.fileno()), plan["entry"], plan["level"], *arguments]
        with theirs:
            self.process = subprocess.Popen(line, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        self.batch: MiniBatch | None = None
        self.began = time.monotonic()
        self.is_ready = False

    def give(self, batch: MiniBatch) -> None:
        """Have it work on a mini-batch."""
        self.batch, self.began = batch, time.monotonic()
        try:
            worker.send(self.channel, (batch.number, batch.items, batch.partition))
        except ConnectionError:
            return  # it has died: reading will tell

    def hear(self) -> tuple[Any, ...] | None:
        """Return what it says; None where it has died."""
        found: tuple[Any, ...] | None = worker.receive(self.channel)
        return found

    def dismiss(self) -> None:
        """Let it shut down."""
        self.channel.shutdown(socket.SHUT_WR)

    def kill(self) -> int:
        """End it and return its exit code."""
        self.channel.close()
        self.process.kill()
        return self.process.wait()


class Rows:
    """The rows of all mini-batches, kept on disk in the order of arrival and joined in that of the input."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this
        self._places: dict[int, tuple[int, int]] = {}

    def add(self, number: int, count: int, text: str) -> None:
        """Keep the rows of a mini-batch."""
        body = text.encode("utf-8", "surrogateescape")
        self._places[number] = (self._file.tell(), len(body))
        self._file.write(body)
        self.count += count

    def join(self, path: str) -> None:
        """Write them all to a file."""
        with open(path, "wb") as target:  # noqa: PTH123
            for _, (start, size) in sorted(self._places.items()):
                self._file.seek(start)
                target.write(self._file.read(size))


class Driver:
    """A parallel job while it goes on."""

    def __init__(self, plan: Mapping[str, Any], schedule: Schedule, arguments: Sequence[str]) -> None:
        self.rows = Rows()
        self._plan = plan
        self._schedule = schedule
        self._arguments = arguments
        self._workers: set[Worker] = set()
        self._selector = selectors.DefaultSelector()
        self._told_at = time.monotonic() + TOLD

    def run(self) -> None:
        """Work through the mini-batches; raise Broken where the script cannot be begun."""
        for _ in range(min(self._plan["workers"], len(self._schedule.batches))):
            self._hire()
        try:
            while self._is_open():
                for key, _ in self._selector.select(self._pause()):
                    self._hear(key.data)
                self._end_late()
                self._give()
                self._tell()
            self._dismiss()
        finally:
            for each in self._workers:
                each.kill()

    def _is_open(self) -> bool:
        if any(each.batch is not None for each in self._workers):
            return True
        return not self._schedule.exceeded and bool(self._schedule.waiting)

    def _hire(self) -> None:
        made = Worker(self._plan, self._arguments)
        self._workers.add(made)
        self._selector.register(made.channel, selectors.EVENT_READ, made)

    def _fire(self, each: Worker) -> int:
        self._selector.unregister(each.channel)
        self._workers.discard(each)
        return each.kill()

    def _hear(self, each: Worker) -> None:
        said = each.hear()
        batch, each.batch = each.batch, None
        if said is None:
            code = self._fire(each)
            if batch is None and not each.is_ready:
                raise Broken(f"the script has ended its process before a mini-batch, with exit code {code}")
            if batch is not None:
                self._failed(batch, f"its process ended with exit code {code}")
            self._replace()
            return
        if said[0] == "broken":
            raise Broken(f"the script cannot be begun:\n{said[1]}")
        if said[0] == "ready":
            each.is_ready = True
        elif batch is not None and said[0] == "done":
            self._schedule.succeed(batch, said[1])
            self.rows.add(batch.number, said[1], said[2] if self._plan["append"] else "")
        elif batch is not None:
            if self._plan["level"] == "DEBUG":
                print(said[2], flush=True)  # noqa: T201  the job's log
            self._failed(batch, said[1])

    def _give(self) -> None:
        """Give the next mini-batches to those who have none."""
        for each in self._workers:
            if each.is_ready and each.batch is None and (batch := self._schedule.next()) is not None:
                each.give(batch)

    def _replace(self) -> None:
        """Have as many workers as there is work for."""
        if not self._schedule.exceeded and self._schedule.waiting and len(self._workers) < self._plan["workers"]:
            self._hire()

    def _failed(self, batch: MiniBatch, reason: str) -> None:
        again = self._schedule.fail(batch, reason)
        what = "is tried again" if again else f"has failed for good, {batch.size} items"
        print(f"mini-batch {batch.number} {what}: {reason}", flush=True)  # noqa: T201

    def _end_late(self) -> None:
        now = time.monotonic()
        for each in list(self._workers):
            if not each.is_ready and now - each.began > STARTING:
                raise Broken(f"the script is not ready after {STARTING:g} s: its init() takes too long")
            if each.batch is not None and now - each.began > self._plan["timeout"]:
                batch = each.batch
                self._fire(each)
                self._failed(batch, f"it took more than {self._plan['timeout']:g} s")
                self._replace()

    def _pause(self) -> float:
        began = [each.began for each in self._workers if each.batch is not None]
        soonest = min(began) + self._plan["timeout"] if began else time.monotonic() + TOLD
        return max(0.0, min(soonest, self._told_at) - time.monotonic()) + 0.001

    def _tell(self) -> None:
        if time.monotonic() >= self._told_at:
            done = len(self._schedule.finished)
            print(f"{done} of {len(self._schedule.batches)} mini-batches, {self.rows.count} rows", flush=True)  # noqa: T201
            self._told_at = time.monotonic() + TOLD

    def _dismiss(self) -> None:
        for each in self._workers:
            each.dismiss()
        deadline = time.monotonic() + PATIENCE
        for each in self._workers:
            try:
                each.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                print("a process did not shut down and is killed", flush=True)  # noqa: T201


def work(plan: Mapping[str, Any], arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what a plan says; return the exit code."""
    try:
        batches = mini_batches(plan, environ[f"AZURE_ML_INPUT_{plan['input']}"])
    except Unreadable as problem:
        print(f"error: {problem}", flush=True)  # noqa: T201
        return 1
    schedule = Schedule(batches, Limits(**plan["limits"]))
    print(f"{schedule.items} items in {len(batches)} mini-batches, {plan['workers']} workers", flush=True)  # noqa: T201
    driver = Driver(plan, schedule, arguments)
    try:
        driver.run()
    except Broken as problem:
        print(f"error: {problem}", flush=True)  # noqa: T201
        return 1
    if schedule.exceeded:
        reasons = "; ".join(list(dict.fromkeys(schedule.failed.values()))[:5])
        print(f"error: {schedule.exceeded}{': ' if reasons else ''}{reasons}", flush=True)  # noqa: T201
        return 1
    if plan["append"]:
        output = environ[f"AZURE_ML_OUTPUT_{plan['append']}"]
        driver.rows.join(os.path.join(output, JOINED) if os.path.isdir(output) else output)  # noqa: PTH118, PTH112
    failed = f", {schedule.failed_items} items failed" if schedule.failed_items else ""
    print(f"done: {len(schedule.finished)} mini-batches, {driver.rows.count} rows{failed}", flush=True)  # noqa: T201
    return 0


def main() -> int:
    """Do what the plan in the environment says."""
    return work(json.loads(os.environ.pop(PLAN)), sys.argv[1:], os.environ)
