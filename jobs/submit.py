"""Submitting a job, following its log, waiting for its end and cancelling it."""

from __future__ import annotations

import os
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import folders, reconcile, records, states
from jobs.children import cancel_job
from jobs.distribution.plan import plan_of
from jobs.files.command import NAME, CommandJob, Job
from jobs.files.expressions import render, resolve
from jobs.files.plain import plain
from jobs.files.ports import Input, Output
from jobs.files.references import Reference
from jobs.inputs import bind
from jobs.logs import follow
from jobs.needs import PRIORITIES, Capacity, Needs, needs_of
from jobs.ray.computes import address_of
from jobs.records import JobRecord
from jobs.snapshots import git_properties, snapshot
from jobs.spec import BoundInput, BoundOutput, Scalar, Spec
from jobs.variables import DEVICES, passed
from workspace import environment as machine
from workspace.blobs import Blob
from workspace.errors import Invalid, Unavailable
from workspace.home import Workspace
from workspace.light_database import to_json
from workspace.run_names import refuse_names

POLL = 0.02  # seconds between looks at a status
RETRIES = "studiolo.retries"  # the property that says how many attempts may fail and be made again
_TENDING = 2.0  # seconds between two looks whether a queued job was forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What whoever submits adds to a job's file. `tracking` is the command that starts MLflow's server.

    `each` is what one process needs of a job that has many, where a cluster can have them on several machines.
    `made_with` is what a parent knows of repository and machine already: its children need not look again.
    """

    retries: int | None = None
    needs: Needs | None = None
    each: Mapping[str, float] | None = None
    parent: str | None = None
    tracking: tuple[str, ...] = ()
    made_with: Mapping[str, Any] | None = None


def submit(workspace: Workspace, job: CommandJob, wishes: Wishes | None = None, *, kind: str = "command") -> JobRecord:
    """Record the job and start its shim if there is room; the job goes on whatever happens to this process.

    `kind` is what the job is called where it is a command for us alone.
    """
    wishes = wishes or Wishes()
    needs = wishes.needs or needs_of(job.resources.properties if job.resources else {})
    spec = spec_of(workspace, job, tracking=wishes.tracking, made_with=wishes.made_with)
    if kind == "parallel":
        spec = replace(spec, carries=True)
    if (address := address_of(workspace, job.compute)) is not None:
        from jobs.ray.places import on_ray  # here: most jobs need no HTTP

        spec, needs = on_ray(
            workspace.settings, spec, address, needs, each=wishes.each, child=wishes.parent is not None
        )
    capacity = Capacity.of(workspace.settings, visible=os.environ.get(DEVICES))
    capacity.check(needs)
    parent = wishes.parent or job.parent_job_name
    wishes = replace(wishes, needs=needs, parent=parent)
    return record_job(workspace, job, spec, kind=kind, wishes=wishes)


def record_job(workspace: Workspace, job: Job, spec: Spec, *, kind: str, wishes: Wishes) -> JobRecord:
    """Write a job down with what its file says of it, and have it started where there is room."""
    name = job.name or name_of(job)
    refuse_name(name)
    properties = {key: render(value) for key, value in job.properties.items()}
    if wishes.made_with is None:
        properties |= git_properties(job.folder)
    row = _row(job, name, spec, wishes.needs or Needs()) | {
        "kind": kind,
        "place": folders.place_of(workspace.home),
        "retries": wishes.retries if wishes.retries is not None else _retries(properties),
        "parent": wishes.parent,
        "properties": to_json(properties),
    }
    record(workspace, row)
    return records.get(workspace, name)


def refuse_name(name: str) -> None:
    """Raise where a job of this name would have no folder of its own."""
    if not NAME.fullmatch(name) or name in folders.TAKEN:
        hint = f"letters, digits, '.', '_' and '-', and none of {', '.join(folders.TAKEN)}"
        raise Invalid(f"{name!r} cannot be the name of a job", hint=hint)


def refuse_outputs(names: Iterable[str]) -> None:
    """Raise where an output would not lie beside the others, in the folder of its job."""
    for name in names:
        if "/" in name:
            raise Invalid(f"{name!r} cannot name an output", hint="letters, digits and _ - . : space")
        refuse_names((name,))


def name_of(job: Job) -> str:
    """Return a new name for a job that has none."""
    return f"{_word(job.folder.name)}_{secrets.token_hex(4)}"


def record(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Write a job down as Queued and have it started where there is room."""
    states.add(workspace.light, row)
    reconcile.start_shim_if_room(workspace.settings, workspace.light, str(row["place"]))


def spec_of(
    workspace: Workspace,
    job: CommandJob,
    *,
    tracking: tuple[str, ...] = (),
    made_with: Mapping[str, Any] | None = None,
) -> Spec:
    """Settle everything that the process of the job is told: code, data, values, Python."""
    tags = {key: render(value) for key, value in job.tags.items()}
    refuse_names(tags)
    refuse_names(job.inputs)
    refuse_outputs(job.outputs)
    bound = {name: _bind(workspace, name, value, job) for name, value in job.inputs.items()}
    code, code_asset = _code(workspace, job)
    environment, prepared = _environment(workspace, job)
    return Spec(
        command=_command(job, bound),
        run_id=uuid.uuid4().hex,
        experiment=job.experiment_name or job.folder.name,
        code=code,
        code_asset=code_asset,
        inputs=bound,
        outputs={name: bound_output(output) for name, output in job.outputs.items()},
        environment_variables={key: render(value) for key, value in job.environment_variables.items()},
        environment=environment,
        prepared=prepared,
        passed=passed(os.environ),
        distribution=plan_of(job, bound) if job.distribution else None,
        timeout=job.timeout,
        tags=tags,
        tracking=tracking,
        made_with=machine.describe(job.folder) if made_with is None else made_with,
        written=plain(job),
        folder=str(job.folder),
    )


def job_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder of a job."""
    return folders.job_folder(workspace.home, name)


def stream(workspace: Workspace, name: str) -> Iterator[bytes]:
    """Yield what the job says as it says it, byte for byte, of one attempt after the other, until it has ended."""
    number = 1
    while True:
        job = _awaited(workspace, name, number)
        if job.attempt < number:
            return
        folder = folders.attempt_folder(workspace.home, job.name, number)
        yield from follow(folder.logs, _Ended(workspace, job.name, number))
        number += 1


def wait(workspace: Workspace, name: str, *, seconds: float | None = None) -> JobRecord:
    """Return the job once it has ended; raise Unavailable where that takes longer than `seconds`."""
    deadline = None if seconds is None else time.monotonic() + seconds
    tended = time.monotonic()
    while not (job := records.get(workspace, name)).ended:
        if deadline is not None and time.monotonic() > deadline:
            raise Unavailable(f"job {name!r} is still {job.status} after {seconds:g} s")
        if time.monotonic() - tended > _TENDING:
            reconcile.look(workspace)
            tended = time.monotonic()
        time.sleep(POLL)
    return job


def cancel(workspace: Workspace, name: str) -> JobRecord:
    """Ask a job to end: SIGTERM to its processes, SIGKILL ten seconds later. An ended job stays as it is."""
    job = records.get(workspace, name)
    cancel_job(workspace.light, workspace.home, job.name)
    return records.get(workspace, job.name)


class _Ended:
    """Whether an attempt is over; asked often, so that it looks at the record only now and then."""

    def __init__(self, workspace: Workspace, name: str, number: int) -> None:
        self._workspace = workspace
        self._name = name
        self._number = number
        self._folder = folders.attempt_folder(workspace.home, name, number)
        self._asked = 0.0

    def __call__(self) -> bool:
        if self._folder.exit.exists():
            return True
        now = time.monotonic()
        if now - self._asked < 10 * POLL:
            return False
        self._asked = now
        job = records.get(self._workspace, self._name)
        return job.ended or job.attempt > self._number


def _awaited(workspace: Workspace, name: str, number: int) -> JobRecord:
    """Return the job when its attempt with this number has begun, or none will be made."""
    tended = 0.0
    while True:
        job = records.get(workspace, name)
        if job.ended or job.attempt >= number:
            return job
        if time.monotonic() - tended > _TENDING:
            reconcile.look(workspace)
            tended = time.monotonic()
        time.sleep(POLL)


def _row(job: Job, name: str, spec: Spec, needs: Needs) -> dict[str, Any]:
    queue = getattr(job, "queue_settings", None)  # pipelines have none
    priority = queue.priority if queue else None
    return {
        "name": name,
        "status": states.QUEUED,
        "spec": to_json(spec.plain()),
        "run_id": spec.run_id,
        "submitted_at": time.time(),
        "priority": PRIORITIES[priority or "medium"],
        "cpus": needs.cpus,
        "gpus": needs.gpus,
        "memory": needs.memory,
        "display_name": job.display_name,
        "experiment": spec.experiment,
        "description": job.description,
        "tags": to_json(dict(spec.tags)),
    }


def _bind(workspace: Workspace, name: str, value: Scalar | Input, job: CommandJob) -> Scalar | BoundInput:
    return bind(workspace, name, value, job.folder) if isinstance(value, Input) else value


def _command(job: CommandJob, bound: Mapping[str, Scalar | BoundInput]) -> str:
    """Fill in the literals. Data has its place only when an attempt begins: its expression stays."""
    values: dict[str, Any] = {f"outputs.{name}": f"${{{{outputs.{name}}}}}" for name in job.outputs}
    for name, value in bound.items():
        values[f"inputs.{name}"] = f"${{{{inputs.{name}}}}}" if isinstance(value, BoundInput) else value
    return resolve(job.command, values)


def _code(workspace: Workspace, job: CommandJob) -> tuple[str, str]:
    if job.code is None:
        return "", ""
    if isinstance(job.code, Reference):
        asset = workspace.assets.get("code", str(job.code))
        return asset.digest, asset.ref
    if isinstance(job.code, Path):
        return keep_code(workspace, snapshot(workspace, job.code))
    from jobs.data.places import find

    return keep_code(workspace, snapshot(workspace, find(workspace, job.code, folder=job.folder)))


def keep_code(workspace: Workspace, blob: Blob) -> tuple[str, str]:
    """Return the digest of code and the asset that it becomes."""
    return blob.digest, workspace.assets.put("code", f"code-{blob.digest[7:19]}", blob).ref


def bound_output(output: Output) -> BoundOutput:
    """Return an output as the process of a job is told it."""
    return BoundOutput(
        type=output.type,
        mode=output.mode or "",
        asset=output.name or "",
        version=output.version or "",
        path=output.path or "",
    )


def _environment(workspace: Workspace, job: CommandJob) -> tuple[Any, dict[str, Any] | None]:
    """Return the environment as a file would say it, and what it was made into before, if it was."""
    if job.environment is None:
        return None, None
    from jobs import preparation
    from jobs.assets.environments import settled

    wanted = settled(workspace, job.environment)
    if wanted.name == preparation.OWN:
        return None, None
    found = preparation.find(wanted)
    return plain(wanted), None if found is None else preparation.plain(found)


def _retries(properties: Mapping[str, str]) -> int:
    written = properties.get(RETRIES, "0")
    if not written.isdecimal():
        raise Invalid(f"{RETRIES} must be a whole number, not {written!r}")
    return int(written)


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip("._-")[:200] or "job"
