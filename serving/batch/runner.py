"""The process of a batch job: `python -m serving.batch.runner PLAN`. It hands out mini-batches and joins their rows.

What is finished lies in the plan's work folder, a file a mini-batch: a job that is begun again does only the rest.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.leftovers import MARKER
from serving.batch import progress as told
from serving.batch.mini_batches import MiniBatch, Schedule, cut
from serving.batch.plan import OUTPUT, BatchPlan, files_in
from serving.batch.progress import Counts, Failure
from serving.engines.workers import Asked, Workers
from workspace.errors import PartialFailure, StudioloError, Unavailable
from workspace.paths import write_atomically

STARTING = 300.0  # seconds that a replaced process may take until it answers again
TOLD = 5  # reasons of failures that the last words name


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened: in words, where the job is now, and what has failed for good."""

    text: str
    counts: Counts
    failure: Failure | None = None


async def run(plan: BatchPlan) -> AsyncIterator[Progress]:
    """Work through the files of a plan; what happens comes as it happens, and the rows are in `output` at the end.

    Raises PartialFailure where more files have failed than may, Unavailable where the code cannot be loaded.
    """
    settings, parts = plan.settings, Path(plan.work) / "parts"
    parts.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = files_in(Path(plan.source))
    kept = _kept(parts)
    schedule = Schedule(cut(files, settings.mini_batch_size), settings.max_retries, settings.error_threshold, kept)
    tally = _Tally(schedule, rows=sum(kept.values()))
    yield Progress(f"{len(files)} files in {len(schedule.batches)} mini-batches", tally.counts())
    if kept:
        yield Progress(f"{len(kept)} mini-batches were finished before", tally.counts())
    left = len(schedule.batches) - len(kept)
    if left:
        workers = Workers(
            replace(plan.spec, workers=min(settings.workers, left), patience=settings.timeout),
            collect=lambda _header, _body: None,
        )
        try:
            await workers.start()
            async for progress in _worked(schedule, tally, workers, parts):
                yield progress
        finally:
            workers.stop()
    if schedule.exceeded:
        reasons = "; ".join(dict.fromkeys(list(schedule.failed.values())[:TOLD]))
        hint = f"error_threshold is {settings.error_threshold}"
        raise PartialFailure(f"{schedule.failed_files} of {schedule.files} files have failed: {reasons}", hint=hint)
    _join(plan, parts)
    counts = tally.counts()
    yield Progress(f"done: {counts.files_done} files, {counts.rows} rows, {counts.files_failed} failed", counts)


class _Tally:
    """The counts of a schedule, with what it does not know: rows and retries."""

    def __init__(self, schedule: Schedule, *, rows: int) -> None:
        self._schedule = schedule
        self.rows = rows
        self.retries = 0

    def counts(self) -> Counts:
        schedule = self._schedule
        done = sum(1 for batch in schedule.batches if batch.number in schedule.finished)
        return Counts(
            mini_batches=len(schedule.batches),
            mini_batches_done=done,
            files=schedule.files,
            files_done=schedule.finished_files,
            files_failed=schedule.failed_files,
            rows=self.rows,
            retries=self.retries,
        )


async def _worked(schedule: Schedule, tally: _Tally, workers: Workers, parts: Path) -> AsyncIterator[Progress]:
    running: dict[asyncio.Task[int], MiniBatch] = {}
    places = workers.count
    try:
        while True:
            while len(running) < places and (batch := schedule.next()):
                running[asyncio.create_task(_one(workers, batch, parts))] = batch
            if not running:
                return
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                yield _noted(schedule, tally, running.pop(task), task)
    finally:
        for task in running:
            task.cancel()


def _noted(schedule: Schedule, tally: _Tally, batch: MiniBatch, task: asyncio.Task[int]) -> Progress:
    name = f"mini-batch {batch.number + 1}/{len(schedule.batches)}"
    error = task.exception()
    if error is None:
        schedule.succeeded(batch)
        tally.rows += task.result()
        return Progress(f"{name}: {len(batch.files)} files, {task.result()} rows", tally.counts())
    if not isinstance(error, StudioloError):
        raise error
    if schedule.fail(batch, str(error)) == "again":
        tally.retries += 1
        return Progress(f"{name} failed and is tried again: {error}", tally.counts())
    failure = Failure(batch.files, str(error))
    return Progress(f"{name} failed for good, {len(batch.files)} files: {error}", tally.counts(), failure)


async def _one(workers: Workers, batch: MiniBatch, parts: Path) -> int:
    """Have a mini-batch worked on and keep its rows; return how many they are."""
    body = json.dumps({"files": batch.files, "number": batch.number}).encode()
    try:
        async with asyncio.timeout(workers.patience + STARTING):
            answered = await workers.ask(Asked("POST", "/batch", {}, body))
    except TimeoutError:
        raise Unavailable("no process of the code comes up again") from None
    if answered.status >= 300:
        raise Unavailable(" ".join(answered.body.decode("utf-8", "replace").split())[:1_000])
    found = json.loads(answered.body)
    write_atomically(parts / f"{batch.number:08d}.json", json.dumps(found))
    return int(found["rows"])


def _kept(parts: Path) -> dict[int, int]:
    """The mini-batches that are finished, and their rows."""
    return {int(path.stem): int(json.loads(path.read_text())["rows"]) for path in parts.glob("*.json")}


def _join(plan: BatchPlan, parts: Path) -> None:
    """Put the rows into one file, in the order of the files that they are of, beside what the script has written."""
    output = Path(plan.output)
    output.mkdir(parents=True, exist_ok=True)
    written = Path(plan.work) / "files"
    if written.is_dir():
        shutil.copytree(written, output, dirs_exist_ok=True)
    if plan.settings.output_action == "append_row":
        with (output / plan.settings.output_file_name).open("w", encoding="utf-8") as file:
            for path in sorted(parts.glob("*.json")):
                file.write(json.loads(path.read_text())["text"])
    if plan.copy_to:
        shutil.copytree(output, plan.copy_to, dirs_exist_ok=True)


async def _show(plan: BatchPlan) -> Counts:
    """Run the plan; each step is a line, and the counts and the failures are in files for whoever asks."""
    counts, written, place = Counts(), 0.0, Path(plan.progress)
    try:
        async for progress in run(plan):
            counts = progress.counts
            print(progress.text, flush=True)  # noqa: T201  the job's log is what people follow
            if progress.failure:
                told.add_failure(place, _named(plan, progress.failure))
            if time.monotonic() - written > 0.5:
                told.keep(place, counts)
                written = time.monotonic()
    finally:  # a job that ends because too many files have failed says how many
        told.keep(place, counts)
    return counts


def _in_job(plan: BatchPlan, environment: Mapping[str, str]) -> BatchPlan:
    """Return the plan as the job that runs it says: where its output goes, and the marks of all that it starts."""
    marks = {name: environment[name] for name in (MARKER, "STUDIOLO_JOB") if name in environment}
    spec = replace(plan.spec, variables={**plan.spec.variables, **marks})
    return replace(plan, spec=spec, output=environment.get(f"AZURE_ML_OUTPUT_{OUTPUT}", plan.output))


def _named(plan: BatchPlan, failure: Failure) -> Failure:
    """Call the files as the input calls them, not by where they were laid out."""
    source = Path(plan.source)
    root = source if source.is_dir() else source.parent
    return replace(failure, files=tuple(Path(path).relative_to(root).as_posix() for path in failure.files))


def main(arguments: Sequence[str]) -> int:
    """Run the plan in a file."""
    plan = _in_job(BatchPlan.read(Path(arguments[0])), os.environ)
    try:
        counts = asyncio.run(_show(plan))
    except StudioloError as error:
        print(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""), flush=True)  # noqa: T201
        return error.exit_code
    if counts.files_failed:
        print(f"warning: {counts.files_failed} of {counts.files} files have failed, as many as may", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
