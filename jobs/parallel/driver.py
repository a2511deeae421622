"""The process of a parallel job: it hands mini-batches to worker processes and joins the rows that they return.

Standard library only, from Python 3.8 on: it runs in the job's own Python, which knows nothing of Studiolo. It is told
a plan in STUDIOLO_PARALLEL; its arguments are those of the script. Where its workers are is a matter of their own:
beside it (`processes.py`), or on a Ray cluster (`elsewhere.py`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NoReturn

from jobs.parallel.elsewhere import CLUSTER, Elsewhere
from jobs.parallel.finished import FOLDER, Finished, cut_of
from jobs.parallel.processes import Processes
from jobs.parallel.schedule import Limits, MiniBatch, Schedule
from jobs.parallel.scorers import mlflow_rows
from jobs.parallel.tables import Unreadable, mini_batches
from jobs.ray.remote_processes import NoCluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    class Worker(Protocol):
        """A process that holds the script, wherever it is."""

        batch: MiniBatch | None
        began: float | None  # the mini-batch, or itself; None: there is no room for it yet
        is_ready: bool

        def give(self, batch: MiniBatch) -> None: ...

    class Workers(Protocol):
        """Where workers run. What they say: `ready`, `broken`, `done`, `failed`; of them: `gone`, `lost`."""

        most: int

        def hire(self) -> Any: ...
        def heard(self, pause: float) -> Iterator[tuple[Any, tuple[Any, ...]]]: ...
        def end(self, each: Any) -> Any: ...
        def dismiss(self, workers: Sequence[Any]) -> None: ...
        def stopped(self) -> None: ...
        def close(self) -> None: ...


PLAN = "STUDIOLO_PARALLEL"
MODEL_INPUT = "studiolo_model"  # the input that brings the model of a task of type `model`
TOLD = 5.0  # seconds between two lines about how far it is
STARTING = 600.0  # seconds for a script to be loaded and for its `init()`
LOSSES = 3  # times as many workers may be lost with their machines before they were ready
JOINED = "parallel_run_step.txt"  # where rows go in an output that is a folder


class Broken(Exception):
    """The script cannot be begun: trying again would not help."""


class Driver:
    """A parallel job while it goes on."""

    def __init__(self, plan: Mapping[str, Any], schedule: Schedule, finished: Finished, where: Workers) -> None:
        self._plan = plan
        self._schedule = schedule
        self._finished = finished
        self._where = where
        self._workers: list[Worker] = []
        self._losses = 0
        self._told_at = time.monotonic() + TOLD

    def run(self) -> None:
        """Work through the mini-batches; raise Broken where the script cannot be begun."""
        for _ in range(min(self._where.most, len(self._schedule.waiting))):
            self._workers.append(self._where.hire())
        try:
            while self._is_open():
                for each, said in self._where.heard(self._pause()):
                    self._hear(each, said)
                self._end_late()
                self._give()
                self._tell()
            done, self._workers = self._workers, []
            self._where.dismiss(done)
        except SystemExit:
            self._workers = []
            self._where.stopped()
            raise
        finally:
            for each in self._workers:
                self._where.end(each)

    def _is_open(self) -> bool:
        if any(each.batch is not None for each in self._workers):
            return True
        return not self._schedule.exceeded and bool(self._schedule.waiting)

    def _hear(self, each: Worker, said: tuple[Any, ...]) -> None:
        if said[0] in ("gone", "lost"):
            self._gone(each, *said)
            return
        batch, each.batch = each.batch, None
        if said[0] == "broken":
            raise Broken(f"the script cannot be begun:\n{said[1]}")
        if said[0] == "ready":
            each.is_ready = True
        elif batch is not None and said[0] == "done":
            self._finished.add(batch.number, said[1], said[2] if self._plan["append"] else "")
            self._schedule.succeed(batch, said[1])
        elif batch is not None:
            if self._plan["level"] == "DEBUG":
                print(said[2], flush=True)  # noqa: T201  the job's log
            self._failed(batch, said[1])

    def _gone(self, each: Worker, how: str, why: str) -> None:
        """A process has ended by itself, or was lost with its machine."""
        self._workers.remove(each)
        batch = each.batch
        if batch is None and not each.is_ready:
            self._losses += 1
            if how == "gone" or self._losses > LOSSES * self._where.most:
                raise Broken(f"the script has ended its process before a mini-batch, with {why}")
        if batch is not None:
            self._failed(batch, f"its process ended with {why}")
        self._replace()

    def _give(self) -> None:
        """Give the next mini-batches to those who have none."""
        for each in self._workers:
            if each.is_ready and each.batch is None and (batch := self._schedule.next()) is not None:
                each.give(batch)

    def _replace(self) -> None:
        """Have as many workers as there is work for."""
        if not self._schedule.exceeded and self._schedule.waiting and len(self._workers) < self._where.most:
            self._workers.append(self._where.hire())

    def _failed(self, batch: MiniBatch, reason: str) -> None:
        again = self._schedule.fail(batch, reason)
        what = "is tried again" if again else f"has failed for good, {batch.size} items"
        print(f"mini-batch {batch.number} {what}: {reason}", flush=True)  # noqa: T201

    def _end_late(self) -> None:
        now = time.monotonic()
        for each in list(self._workers):
            if not each.is_ready and each.began is not None and now - each.began > STARTING:
                raise Broken(f"the script is not ready after {STARTING:g} s: its init() takes too long")
            if each.batch is not None and each.began is not None and now - each.began > self._plan["timeout"]:
                self._workers.remove(each)
                self._where.end(each)
                self._failed(each.batch, f"it took more than {self._plan['timeout']:g} s")
                self._replace()

    def _pause(self) -> float:
        began = [each.began for each in self._workers if each.batch is not None and each.began is not None]
        soonest = min(began) + self._plan["timeout"] if began else time.monotonic() + TOLD
        return max(0.0, min(soonest, self._told_at) - time.monotonic()) + 0.001

    def _tell(self) -> None:
        if time.monotonic() >= self._told_at:
            done, waits = len(self._schedule.finished), sum(each.began is None for each in self._workers)
            room = f", {waits} workers wait for room" if waits else ""
            print(  # noqa: T201
                f"{done} of {len(self._schedule.batches)} mini-batches, {self._finished.count} rows{room}", flush=True
            )
            self._told_at = time.monotonic() + TOLD


def work(plan: Mapping[str, Any], arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what a plan says; return the exit code."""
    source = environ[f"AZURE_ML_INPUT_{plan['input']}"]
    try:
        batches = mini_batches(plan, source)
    except Unreadable as problem:
        return _refused(str(problem))
    schedule = Schedule(batches, Limits(**plan["limits"]))
    finished = Finished(environ.get(FOLDER), cut_of(batches, source))
    taken = len(finished.rows)
    schedule.take_over(finished.rows)
    if plan["model"]:
        plan = {**plan, "entry": plan["entry"] or mlflow_rows.__file__}
        _show_model(plan["model"], environ[f"AZURE_ML_INPUT_{MODEL_INPUT}"])
    told = json.loads(environ.get(CLUSTER, "null"))
    try:
        where: Workers = Elsewhere(plan, arguments, told) if told else Processes(plan, arguments)
    except NoCluster as problem:
        return _refused(f"the Ray cluster cannot be reached: {problem}")
    over = f", {taken} of them were finished before" if taken else ""
    print(  # noqa: T201
        f"{schedule.items} items in {len(batches)} mini-batches, {where.most} workers{over}", flush=True
    )
    try:
        Driver(plan, schedule, finished, where).run()
    except (Broken, NoCluster) as problem:
        return _refused(str(problem))
    finally:
        where.close()
    if schedule.exceeded:
        reasons = "; ".join(list(dict.fromkeys(schedule.failed.values()))[:5])
        return _refused(f"{schedule.exceeded}{': ' if reasons else ''}{reasons}")
    if plan["append"]:
        output = environ[f"AZURE_ML_OUTPUT_{plan['append']}"]
        finished.join(os.path.join(output, JOINED) if os.path.isdir(output) else output)  # noqa: PTH118, PTH112
    finished.forget()
    failed = f", {schedule.failed_items} items failed" if schedule.failed_items else ""
    over = f", {taken} mini-batches taken over from the attempt before" if taken else ""
    print(f"done: {len(schedule.finished)} mini-batches, {finished.count} rows{failed}{over}", flush=True)  # noqa: T201
    return 0


def _show_model(name: str, place: str) -> None:
    """Say where the model is, as Azure ML does: AZUREML_MODEL_DIR holds it under its name."""
    folder = os.path.dirname(place)  # noqa: PTH120
    if os.path.isdir(place):  # noqa: PTH112
        folder = tempfile.mkdtemp(prefix="model-", dir=os.path.dirname(folder))  # noqa: PTH120  seen from each machine
        os.symlink(place, os.path.join(folder, name))  # noqa: PTH118, PTH211
    os.environ.update({mlflow_rows.MODEL: place, "AZUREML_MODEL_DIR": folder})


def main() -> int:
    """Do what the plan in the environment says."""
    if os.environ.get(CLUSTER):  # else the system ends us, and our processes with us
        signal.signal(signal.SIGTERM, _stop)
    plan = json.loads(os.environ.pop(PLAN))
    return work(plan, sys.argv[1:], os.environ)


def _stop(number: int, _frame: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _refused(why: str) -> int:
    print(f"error: {why}", flush=True)  # noqa: T201  the job's log
    return 1
