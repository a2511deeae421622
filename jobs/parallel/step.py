"""A parallel job as the command that does it: our driver, in the job's own Python, with the job's script beside it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs import parallel
from jobs.files import read_mltable
from jobs.files.command import CommandJob
from jobs.files.data import MLTABLE, MLTable, mltable_in
from jobs.files.expressions import used
from jobs.files.parallel import size_of
from jobs.files.parallel_job import ParallelJob
from jobs.files.ports import Input
from jobs.inputs import bind
from jobs.needs import Capacity, Needs, needs_of
from jobs.parallel.driver import MODEL_INPUT, PLAN
from jobs.parallel.models import Model, model_of
from jobs.records import JobRecord
from jobs.spec import DIRECT
from jobs.submit import Wishes, submit
from jobs.variables import DEVICES
from workspace.errors import Invalid
from workspace.home import Workspace

DRIVER = "studiolo_parallel"  # the input that brings our driver
RETRIES, TIMEOUT = 2, 60  # where the file does not say it
_FILES = (
    "__init__.py", "parallel/__init__.py", "parallel/driver.py", "parallel/elsewhere.py", "parallel/finished.py",
    "parallel/processes.py", "parallel/schedule.py", "parallel/scorers/__init__.py",
    "parallel/scorers/mlflow_rows.py", "parallel/tables.py", "parallel/worker.py", "ray/__init__.py",
    "ray/relay.py", "ray/remote_processes.py", "shims/__init__.py", "shims/mltable/__init__.py",
    "shims/mltable/conditions.py", "shims/mltable/paths.py", "shims/mltable/reading.py",
)  # fmt: skip
# Isolated, so that nothing of the job's is met instead of the driver's modules; its workers are not.
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from jobs.parallel.driver import main; sys.exit(main())"


def submit_parallel(workspace: Workspace, job: ParallelJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a parallel job and begin it where there is room."""
    wishes = wishes or Wishes()
    command = command_of(workspace, job)
    if wishes.needs is None:
        wishes = replace(wishes, needs=_needs(workspace, job), each=_each(workspace, job))
    return submit(workspace, command, wishes, kind="parallel")


def command_of(workspace: Workspace, job: ParallelJob) -> CommandJob:
    """Return the command that does a parallel job.

    The driver is an input like others, so that it is found in a container too, and replayed as it was.
    """
    source, given = _divided(job)
    model = model_of(workspace, job) if job.task.type == "model" else None
    plan = _plan(workspace, job, source, given, model)
    line = f'exec python -I -c {shlex.quote(_START)} "${{{{inputs.{DRIVER}}}}}"'
    variables = {**(model.variables if model else {}), **job.environment_variables}
    arguments = job.task.program_arguments or ""
    options = _options(arguments)
    plan["limits"]["percent"] = options.get("allowed_failed_percent", 100.0)
    if "error_threshold" in options:
        plan["limits"]["items"] = int(options["error_threshold"])
    inputs = dict(job.inputs) | {
        source: Input(type=given.type, path=given.path),  # whatever its mode is: paths of it are handed out
        DRIVER: Input(path=str(_driver(workspace))),
        **({MODEL_INPUT: model.given} if model else {}),
    }
    return CommandJob(
        origin=job.origin, name=job.name, display_name=job.display_name, experiment_name=job.experiment_name,
        description=job.description, tags=job.tags, properties=job.properties, compute=job.compute,
        command=f"{line} {arguments}".strip(), environment=job.task.environment, code=job.task.code,
        environment_variables=variables | {PLAN: json.dumps(plan)},
        inputs=inputs, outputs=job.outputs, resources=job.resources,
    )  # fmt: skip


def _divided(job: ParallelJob) -> tuple[str, Input]:
    """Return the input that is divided, and its name."""
    names = used(job.input_data or "")
    name = names[0].removeprefix("inputs.") if len(names) == 1 else ""
    found = job.inputs.get(name)
    if not isinstance(found, Input):
        known = [key for key, value in job.inputs.items() if isinstance(value, Input)]
        hint = f"input_data: ${{{{inputs.{known[0] if known else 'NAME'}}}}}"
        raise Invalid(
            f"`input_data` of a parallel job must name one of its data inputs, not {job.input_data!r}", hint=hint
        )
    return name, found


def _plan(workspace: Workspace, job: ParallelJob, source: str, given: Input, model: Model | None) -> dict[str, Any]:
    size, is_bytes = size_of(job.mini_batch_size) if job.mini_batch_size else (1, False)
    whole = Input(type=given.type, path=given.path)
    table = _table(workspace, job, source, whole) if given.type == "mltable" else None
    retries = job.retry_settings
    needs = needs_of(job.resources.properties if job.resources else {})
    return {
        "entry": job.task.entry_script or "",
        "model": model.called if model else "",
        "input": source,
        "kind": "table" if table is not None and (given.mode == DIRECT or is_bytes) else "files",
        "table": table,
        "size": max(1, size),
        "bytes": is_bytes,
        "keys": list(job.partition_keys or ()),
        "timeout": float(_said(retries.timeout if retries else None, TIMEOUT)),
        "limits": {
            "retries": int(_said(retries.max_retries if retries else None, RETRIES)),
            "items": _said(job.error_threshold, -1),
            "mini_batches": _said(job.mini_batch_error_threshold, -1),
        },
        "workers": _workers(workspace, job),
        "said": job.max_concurrency_per_instance is not None or bool(needs.gpus),  # else a core of a machine each
        "instances": _instances(job),
        "append": _appended(job),
        "level": job.logging_level or "INFO",
    }


def _said(value: Any, default: int) -> Any:
    return default if value is None else value


def _appended(job: ParallelJob) -> str:
    names = used(job.task.append_row_to or "")
    name = names[0].removeprefix("outputs.") if names else ""
    if job.task.append_row_to and name not in job.outputs:
        hint = f"declared outputs: {', '.join(job.outputs) or 'none'}"
        raise Invalid(f"`append_row_to` must name an output of the job, not {job.task.append_row_to!r}", hint=hint)
    return name


def _options(arguments: str) -> dict[str, float]:
    """Return what the runtime reads of the arguments. The script is given all of them, as in Azure ML."""
    words, found = shlex.split(arguments), {}
    for name in ("allowed_failed_percent", "error_threshold"):
        for place, word in enumerate(words):
            key, _, value = word.partition("=")
            if key == f"--{name}":
                found[name] = float(value or words[place + 1])
    return found


def _workers(workspace: Workspace, job: ParallelJob) -> int:
    """Return how many processes work at the same time: as many as there are cores, and one where it wants a GPU."""
    needs = needs_of(job.resources.properties if job.resources else {})
    room = Capacity.of(workspace.settings, visible=os.environ.get(DEVICES)).room
    each = int(_said(job.max_concurrency_per_instance, 1 if needs.gpus else max(1, int(room.cpus))))
    return max(1, each * _instances(job))


def _instances(job: ParallelJob) -> int:
    return job.resources.instance_count if job.resources and job.resources.instance_count else 1


def _each(workspace: Workspace, job: ParallelJob) -> dict[str, float]:
    """Return what one process needs: its part of what a machine is asked for, and a core where nothing is said."""
    properties: Mapping[str, Any] = job.resources.properties if job.resources else {}
    needs, many = needs_of(properties), max(1, _workers(workspace, job) // _instances(job))
    gpus = needs.gpus / many  # Ray gives parts of one, and no parts of several
    cpus = needs.cpus / many if "cpus" in properties else 1.0
    return {"cpus": cpus, "gpus": gpus if gpus < 1 else int(gpus), "memory": int(needs.memory / many)}


def _needs(workspace: Workspace, job: ParallelJob) -> Needs:
    """Return what the job takes: a core for each process, and no more than there are."""
    properties: Mapping[str, Any] = job.resources.properties if job.resources else {}
    needs = needs_of(properties)
    if "cpus" in properties:
        return needs
    room = Capacity.of(workspace.settings, visible=os.environ.get(DEVICES)).room
    return Needs(cpus=min(room.cpus, _workers(workspace, job)), gpus=needs.gpus, memory=needs.memory)


def _driver(workspace: Workspace) -> Path:
    """Return a folder with our driver and what it imports, and nothing else."""
    root = Path(parallel.__file__).parent.parent
    blob = workspace.blobs.add_files([(f"jobs/{name}", root / name) for name in _FILES])
    return workspace.blobs.materialise(blob, workspace.home / "checkouts" / blob.digest.removeprefix("sha256:"))


def _table(workspace: Workspace, job: ParallelJob, name: str, given: Input) -> dict[str, Any] | None:
    """Return what the MLTable of an input says, or None where its folder has none: then it is its files."""
    bound = bind(workspace, name, given, job.folder)
    if bound.place:
        path = mltable_in(Path(bound.place))
        return None if path is None else _told(read_mltable(path))
    for entry in workspace.blobs.entries(bound.digest) if bound.is_folder else ():
        if entry.path == MLTABLE:
            return _told(read_mltable(workspace.blobs.path(entry.digest)))
    return None


def _told(table: MLTable) -> dict[str, Any]:
    paths = [
        {key: value for key in ("file", "folder", "pattern") if (value := getattr(path, key))} for path in table.paths
    ]
    return {"paths": paths, "transformations": [dict(step) for step in table.transformations]}
