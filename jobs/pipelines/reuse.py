"""Using again what a step has done before: when, from where, and why not.

What decides is everything that a step's work depends on, in parts that are told by name. Where it was last found, and
what each step was made of when it last completed, is kept in small files of the workspace.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import records, states
from jobs.files.command import CommandJob, Job
from jobs.files.plain import plain
from jobs.files.ports import Input
from jobs.folders import job_folder, outputs_of, place_of
from jobs.inputs import bind
from jobs.pipelines.wiring import REUSED_FROM, is_whole
from jobs.records import JobRecord
from jobs.spec import WRITABLE, BoundInput, Spec
from jobs.submit import refuse_name, spec_of
from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.light_database import to_json
from workspace.paths import write_atomically

PARTS = "studiolo.parts"  # the property of a job that keeps what its work depends on
STEP = "studiolo.step"  # and the one that says which step of which pipeline it is
# What is the same work under another name.
_NAMES = ("name", "display_name", "description", "tags", "properties", "experiment_name", "compute", "services",
          "queue_settings", "identity", "inputs", "outputs")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a step's work depends on, each part as a short digest."""

    by_name: Mapping[str, str]
    spec: Spec

    @property
    def key(self) -> str:
        """What is the same where all parts are."""
        return _digest(dict(self.by_name))

    @property
    def can_be_reused(self) -> bool:
        """Whether the work leaves nothing but its outputs: an input that is written to does not."""
        return not any(value.mode == WRITABLE for value in self.spec.data.values())


def parts_of(workspace: Workspace, job: Job) -> Parts:
    """Return what the work of a job depends on."""
    if isinstance(job, CommandJob):
        spec = spec_of(workspace, job, made_with={})
        told: dict[str, Any] = {
            "code": spec.code,
            "command": job.command,  # its literals are inputs, told apart
            "environment": spec.environment or ["own", platform.python_version()],
            "variables": dict(spec.environment_variables),
            "distribution": plain(job.distribution) if job.distribution else None,
        }
    else:
        inputs = {
            name: bind(workspace, name, value, job.folder) if isinstance(value, Input) else value
            for name, value in getattr(job, "inputs", {}).items()
        }
        spec = Spec(command="", run_id="", inputs=inputs)
        told = {key: value for key, value in plain(job).items() if key not in _NAMES}
    told |= {f"input {name}": _content(value) for name, value in spec.inputs.items()}
    told["outputs"] = {name: plain(value) for name, value in getattr(job, "outputs", {}).items()}
    return Parts(by_name={name: _digest(value) for name, value in told.items() if value}, spec=spec)


def find(workspace: Workspace, parts: Parts) -> JobRecord | None:
    """Return the job that has done the same before, if it completed and all that it left is there."""
    path = _folder(workspace.home) / f"{parts.key}.json"
    if not path.exists():
        return None
    try:
        job = records.get(workspace, json.loads(path.read_text())["job"])
    except NotFound:
        return None
    return job if job.status == states.COMPLETED and is_whole(workspace, job) else None


def reason(workspace: Workspace, step: str, parts: Parts) -> str:
    """Return why a step runs that could have been used again: `"code changed"`."""
    path = _last(workspace.home, step)
    if not path.exists():
        return "it has not completed before"
    known = json.loads(path.read_text())
    before = known["parts"]
    changed = sorted(
        {name for name in {*before, *parts.by_name} if before.get(name) != parts.by_name.get(name)}, key=_order
    )
    return f"{', '.join(changed)} changed" if changed else f"what job {known['job']} left is not there any more"


def remember(workspace: Workspace, job: JobRecord) -> None:
    """Keep that a job has completed, for those who want to do the same."""
    by_name = json.loads(job.properties.get(PARTS) or "{}")
    if job.status != states.COMPLETED or not by_name or REUSED_FROM in job.properties:
        return
    note = json.dumps({"job": job.name, "parts": by_name})
    folder = _folder(workspace.home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / f"{_digest(by_name)}.json", note)
    write_atomically(_last(workspace.home, job.properties.get(STEP, job.name)), note)


def take(workspace: Workspace, source: JobRecord, job: Job, *, parent: JobRecord) -> JobRecord:
    """Record a job that has the outputs of another instead of running; it is complete at once."""
    name = str(job.name)
    refuse_name(name)
    folder = job_folder(workspace.home, name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = outputs_of(workspace.home, name)
    if not there.is_symlink():
        there.symlink_to(outputs_of(workspace.home, source.name), target_is_directory=True)
    now = time.time()
    properties = {
        **{key: str(value) for key, value in job.properties.items()},
        REUSED_FROM: source.name,
        "azureml.isreused": "true",
        "azureml.reusedrunid": str(source.run_id),
    }
    row = {
        "name": name, "kind": source.kind, "status": states.COMPLETED, "spec": to_json(dict(source.spec)),
        "run_id": None, "submitted_at": now, "started_at": now, "ended_at": now,
        "place": place_of(workspace.home), "parent": parent.name, "display_name": job.display_name,
        "experiment": job.experiment, "tags": to_json({}), "properties": to_json(properties),
        "exit_code": source.exit_code, "cpus": 0.0,
    }  # fmt: skip
    states.add(workspace.light, row)
    return records.get(workspace, name)


def _content(value: Any) -> Any:
    """Return what an input holds: data is its content, whatever it is called."""
    if not isinstance(value, BoundInput):
        return [type(value).__name__, value]
    return [value.digest or value.path, value.mode, value.type, value.filename]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _order(name: str) -> tuple[int, str]:
    """Put first what people change most."""
    return (0 if name in ("code", "command") else 1 if name.startswith("input ") else 2, name)


def _folder(home: Path) -> Path:
    return home / "jobs" / "reuse"


def _last(home: Path, step: str) -> Path:
    return _folder(home) / f"last-{_digest(step)}.json"
