"""Jobs whose work is done by other jobs, their children: pipelines, sweeps, parallel jobs.

Such a job has a process as every job has, supervised by a shim; the process is a module of ours that takes no room and
submits children. A child is called after its parent and its step, so that a process that was killed and is made again
finds the children it had: none is made twice.

    def work(family: Family) -> None: ...      # submits children, waits for them, raises where the job failed
    if __name__ == "__main__":
        lead(sys.argv[1], work)
"""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from jobs import records, states
from jobs.children import cancel_children
from jobs.create import create
from jobs.files import job_of
from jobs.files.command import Job
from jobs.files.expressions import EXPRESSION, render
from jobs.files.plain import plain
from jobs.files.ports import Input
from jobs.files.references import Reference, target
from jobs.folders import attempt_folder
from jobs.inputs import bind
from jobs.keeping import with_code_kept
from jobs.needs import Needs
from jobs.reconcile import look
from jobs.records import JobRecord
from jobs.spec import DIRECT, WRITABLE, BoundInput, Spec
from jobs.submit import Wishes, bound_output, name_of, record_job, refuse_outputs
from jobs.variables import passed
from workspace import environment as machine
from workspace.errors import Conflict, NotFound, StudioloError
from workspace.home import Workspace
from workspace.paths import write_atomically
from workspace.run_names import refuse_names
from workspace.settings import Settings

LIVES = 20  # times that the process may be killed and made again
GRACE = 30.0  # seconds for children to end, which have 10 themselves
SHORTEST, LONGEST = 0.005, 0.25  # seconds between two looks for a child that has ended
_TENDING = 2.0  # seconds between two looks whether a child was forgotten
_LONGEST_NAME = 150  # letters
_AT_ONCE = 200  # names in one query


class Stopped(Exception):
    """Somebody has asked this job to end."""


def submit_parent(
    workspace: Workspace,
    job: Job,
    *,
    kind: str,
    module: str,
    wishes: Wishes | None = None,
    needs: Needs = Needs(cpus=0),  # noqa: B008  a frozen value
) -> JobRecord:
    """Record a job of this kind, which `python -m MODULE NAME` does, and begin it; it goes on whatever happens to us.

    `needs` is what the process itself takes of the machine; those that only wait for children take nothing.
    Its code and its data are kept as they are now. The process finds them in `Family.written`, as assets.
    """
    wishes = wishes or Wishes()
    job = replace(job, name=job.name or name_of(job))
    refuse_outputs(getattr(job, "outputs", {}))
    kept = keep(workspace, job)
    line = ["exec", sys.executable, "-P", "-m", module, str(job.name)]
    tags = {key: render(value) for key, value in job.tags.items()}
    refuse_names(tags)
    spec = Spec(
        command=shlex.join(line),
        run_id=uuid.uuid4().hex,
        experiment=job.experiment_name or job.folder.name,
        inputs={name: _told(workspace, name, value, job) for name, value in getattr(kept, "inputs", {}).items()},
        outputs={name: bound_output(value) for name, value in getattr(job, "outputs", {}).items()},
        passed=_passed(os.environ),
        grace=GRACE,
        tags=tags,
        tracking=wishes.tracking,
        made_with=machine.describe(job.folder) if wishes.made_with is None else wishes.made_with,
        written=plain(kept),
        folder=str(job.folder),
        ours=True,
    )
    wishes = replace(wishes, needs=needs, retries=LIVES)
    return record_job(workspace, job, spec, kind=kind, wishes=wishes)


def keep(workspace: Workspace, value: Any) -> Any:
    """Return a job with its code and its local data as assets, and assets by their versions: nothing changes later."""
    return with_code_kept(workspace, value, partial(_kept_input, workspace))


def _passed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what children are begun with: they find the environments that were made, and the key of secrets."""
    caches = {name: environ[name] for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME") if name in environ}
    return passed(environ) | caches


def _kept_input(workspace: Workspace, given: Input) -> Input:
    where = target(given.path, Path("/"))
    if not given.path or EXPRESSION.search(given.path) or not isinstance(where, Path | Reference):
        return given
    if isinstance(where, Path) and given.mode in (DIRECT, WRITABLE):
        return given
    bound = bind(workspace, where.stem if isinstance(where, Path) else where.name, given, Path("/"))
    return replace(given, path=f"azureml:{bound.asset}") if bound.asset else given


class Family:
    """A job as its own process sees it: what it was told, and its children."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.job = records.get(workspace, name)
        self.spec = Spec.of(self.job.spec)
        self._is_stopped = False
        self._tended = time.monotonic()

    @property
    def written(self) -> Mapping[str, Any]:
        """The job as its file said it, with assets in place of files."""
        return self.spec.written

    def read(self) -> Job:
        """Return the job."""
        return job_of(self.written, Path(self.spec.folder))

    def output(self, name: str) -> Path:
        """Return where this job writes an output: it is shown, and becomes an asset, when the job has completed."""
        return attempt_folder(self.workspace.home, self.job.name, self.job.attempt).outputs / name

    def given(self, name: str) -> Path:
        """Return where data lies that this job was given."""
        from jobs.data import places  # late: it loads all of SQLAlchemy, and few jobs ask

        bound = self.spec.inputs.get(name)
        if not isinstance(bound, BoundInput):
            raise NotFound(f"job {self.job.name!r} has no data {name!r}")
        if bound.asset:
            kind = bound.asset.partition(":")[0]
            return places.content(self.workspace, self.workspace.assets.get(kind, bound.asset))
        return places.find(self.workspace, target(bound.path, Path(self.spec.folder)))

    def name_of(self, step: str) -> str:
        """Return what the child of a step is called."""
        return child_name(self.job.name, step)

    def find(self, step: str) -> JobRecord | None:
        """Return the child of a step, or None where there is none yet."""
        name = self.name_of(step)
        if not self.workspace.light.rows("SELECT name FROM jobs WHERE name = :name", name=name):
            return None
        found = records.get(self.workspace, name)
        if found.parent != self.job.name:
            raise Conflict(f"there is a job {name!r} already, which is not of {self.job.name!r}")
        return found

    def child(self, step: str, job: Job, wishes: Wishes | None = None) -> JobRecord:
        """Begin the child of a step, of any kind; return the one that there is where it was begun before."""
        self.heed()
        if (found := self.find(step)) is not None:
            return found
        wishes = replace(
            wishes or Wishes(), parent=self.job.name, tracking=self.spec.tracking, made_with=self.spec.made_with
        )
        git = {key: value for key, value in self.job.properties.items() if ".git." in key}
        job = replace(job, name=self.name_of(step), properties={**git, **job.properties})
        return create(self.workspace, job, wishes)

    def ended(self, names: Collection[str], *, seconds: float | None = None) -> list[JobRecord]:
        """Return those of these jobs that have ended, once there is one; none where that takes longer than `seconds`.

        Raises Stopped when somebody asks this job to end.
        """
        began = time.monotonic()
        while True:
            self.heed()
            if found := self._ended(names):
                return [records.get(self.workspace, name) for name in found]
            waited = time.monotonic() - began
            if not names or (seconds is not None and waited >= seconds):
                return []
            if time.monotonic() - self._tended > _TENDING:
                look(self.workspace)
                self._tended = time.monotonic()
            time.sleep(min(LONGEST, max(SHORTEST, waited / 20)))

    def heed(self) -> None:
        """Raise Stopped where somebody has asked this job to end."""
        if self._is_stopped:
            raise Stopped

    def cancel_all(self) -> None:
        """Cancel the children that have not ended, and wait until they have."""
        living = cancel_children(self.workspace.light, self.workspace.home, self.job.name)
        deadline = time.monotonic() + GRACE
        while len(self._ended(living)) < len(living) and time.monotonic() < deadline:
            look(self.workspace)
            time.sleep(10 * SHORTEST)

    def tell(self, why: str) -> None:
        """Keep why this job failed: it is shown as its error."""
        folder = attempt_folder(self.workspace.home, self.job.name, self.job.attempt)
        write_atomically(folder.told, why)

    def _ended(self, names: Collection[str]) -> list[str]:
        found: list[str] = []
        asked = list(names)
        for first in range(0, len(asked), _AT_ONCE):
            values = {f"name_{number}": name for number, name in enumerate(asked[first : first + _AT_ONCE])}
            wanted = ", ".join(f":{key}" for key in values)
            query = f"SELECT name, status FROM jobs WHERE name IN ({wanted})"
            rows = self.workspace.light.rows(query, **values)
            found += [str(row["name"]) for row in rows if row["status"] in states.TERMINAL]
        return found

    def __enter__(self) -> Family:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel_all()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopped = True


def child_name(parent: str, step: str) -> str:
    """Return what the child of a step is called, always the same.

    >>> child_name("train_pipeline", "clean")
    'train_pipeline_clean'
    """
    name = f"{parent}_{step}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 13]}_{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def lead(name: str, work: Callable[[Family], None]) -> int:
    """Be the process of a parent: do its work, end its children, and say why where it failed."""
    with Workspace.open(settings=Settings.from_environment()) as workspace, Family(workspace, name) as family:
        try:
            work(family)
        except Stopped:
            return 128 + signal.SIGTERM
        except StudioloError as problem:
            told = f"{problem}; {problem.hint}" if problem.hint else str(problem)
            family.tell(told)
            print(told, file=sys.stderr, flush=True)  # noqa: T201  the log of the job
            return problem.exit_code
        except Exception as problem:
            family.tell(f"it broke: {type(problem).__name__}: {problem}; its log tells where")
            raise
    return 0


def _told(workspace: Workspace, name: str, value: Any, job: Job) -> Any:
    """Return an input as lineage and the records know it; the process itself reads none."""
    if not isinstance(value, Input):
        return value
    where = target(value.path, job.folder)
    if not isinstance(where, Reference):
        return BoundInput(type=value.type, path=value.path, mode=DIRECT)
    return replace(bind(workspace, name, value, job.folder), mode=DIRECT)
