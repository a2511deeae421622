"""What a schedule runs and when, as it is kept: plain values that nothing outside changes any more.

The job is kept as its files said it when the schedule was made, its code as it was; data is looked up at each firing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs import records
from jobs.assets import versions
from jobs.files import job_of, made
from jobs.files.command import Job
from jobs.files.loading import start_made
from jobs.files.monitor import Monitor
from jobs.files.overrides import Override
from jobs.files.plain import plain
from jobs.files.reading import Origin
from jobs.files.record import Record
from jobs.files.references import PREFIX, reference, target
from jobs.files.schedule import RemoteJob, Schedule, merge
from jobs.files.trigger import TRIGGER, Trigger
from jobs.foreign import check_compute, check_place
from jobs.keeping import with_code_kept
from workspace.errors import Invalid, did_you_mean
from workspace.home import Workspace

PARAMETERS = ("inputs", "outputs", "settings", "compute", "experiment_name", "tags")
CATCH_UP = "studiolo.catch_up"  # the property that says what becomes of firings that were missed
CATCHES = ("last", "none", "all")

Spec = Mapping[str, Any]

# What a shell takes as the word that it is, unquoted: the words of a request end up in the command of a job.
_HARMLESS = re.compile(r"(?:[\w.,:/@+=%][\w.,:/@+=%-]*(?: [\w.,:/@+=%][\w.,:/@+=%-]*)*)?")


def keep(workspace: Workspace, schedule: Schedule) -> Spec:
    """Return a schedule as it is kept; its code becomes an asset. What cannot be right is refused."""
    job = schedule.create_job
    if isinstance(job, RemoteJob):
        changes = _with_absolute_paths(job.changes, schedule.origin.folder)
        schedule = replace(schedule, create_job=RemoteJob(job=job.job, changes=changes))
    elif job is not None:
        schedule = replace(schedule, create_job=with_code_kept(workspace, replace(job, name=None)))
    spec = {key: value for key, value in plain(schedule).items() if value is not None}
    if isinstance(schedule.create_job, RemoteJob):
        spec["create_job"] = {"job": str(schedule.create_job.job), **schedule.create_job.changes}
    folder = job.folder if isinstance(job, Job) else schedule.origin.folder
    spec |= {"folder": str(folder.resolve())}
    check(workspace, spec)
    return spec


def of_job(job: Job, name: str) -> Schedule:
    """Return a schedule that no clock fires: a job that is begun by hand or over HTTP."""
    return Schedule(origin=job.origin, name=name, create_job=job)


def changed(workspace: Workspace, spec: Spec, overrides: tuple[Override, ...], removed: tuple[str, ...] = ()) -> Spec:
    """Return what is kept with values set and some taken out: `trigger.expression`, `create_job.inputs.rate`."""
    root = versions.changed(spec, overrides, removed)
    for key in ("name", "folder"):
        if root.get(key) != spec.get(key):
            raise Invalid(f"`{key}` of a schedule stays as it is", hint="make another schedule")
    check(workspace, root)
    return root


def check(workspace: Workspace, spec: Spec) -> None:
    """Raise where a schedule as it is kept cannot be right."""
    trigger_of(spec)
    catch_up(spec)
    if "create_job" in spec:
        _job(workspace, spec)
    elif "import_data" in spec:
        _import(spec, {})
    else:
        _monitor_of(spec)


def trigger_of(spec: Spec) -> Trigger | None:
    """Return when it runs; None: when somebody asks for it."""
    if spec.get("trigger") is None:
        return None
    place = start_made(spec, Path(spec["folder"])).under("trigger")
    found: Trigger = TRIGGER.read(place, spec["trigger"])
    for finding in place.reading.findings:
        if finding.weight == "refusal":
            raise finding.error()
    return found


def catch_up(spec: Spec) -> str:
    """Return what becomes of firings that were missed."""
    found = spec.get("properties", {}).get(CATCH_UP) or CATCHES[0]
    if found not in CATCHES:
        raise Invalid(f"the property {CATCH_UP} cannot be {found!r}", hint=did_you_mean(str(found), CATCHES))
    return str(found)


def job_for(
    workspace: Workspace, spec: Spec, parameters: Mapping[str, Any], *, due: float, networked: bool = False
) -> Job:
    """Return the job of one firing, which was due at a moment. `parameters` are laid over what the schedule says.

    Where they came over a network, data that they name is never a path of this machine.
    """
    if "import_data" in spec:
        return _import(spec, parameters)
    if "create_job" not in spec:
        return _monitor(workspace, spec, parameters, due)
    written, folder = _written(workspace, spec)
    if networked:
        _check_data(written.get("inputs") or {}, parameters.get("inputs") or {}, "inputs")
    return job_of(_with_parameters(written, parameters), folder)


def _import(spec: Spec, parameters: Mapping[str, Any]) -> Job:
    from jobs import imports  # here: it is a job's process, and few schedules import

    if parameters:
        raise Invalid("an import takes no parameters")
    return imports.job_of(made("data_import", spec["import_data"], Path(spec["folder"])))


def _monitor(workspace: Workspace, spec: Spec, parameters: Mapping[str, Any], due: float) -> Job:
    from jobs.monitors import job, windows

    if parameters:
        raise Invalid("a monitor takes no parameters", hint="studiolo schedule update NAME --set create_monitor.…")
    monitor = _monitor_of(spec)
    return job.MonitorJob(
        origin=Origin.made_in(Path(spec["folder"])),
        schedule=str(spec["name"]),
        monitor=monitor,
        at=due,
        size=windows.default_size(spec.get("trigger")),
        inputs=job.with_inputs(workspace, monitor),
        description=str(spec.get("description") or ""),
        tags={key: str(value) for key, value in spec.get("tags", {}).items()},
    )


def _monitor_of(spec: Spec) -> Monitor:
    place = start_made(spec, Path(spec["folder"])).under("create_monitor")
    found: Monitor = Record(Monitor).read(place, spec["create_monitor"])
    for finding in place.reading.findings:
        if finding.weight == "refusal":
            raise finding.error()
    return found


def check_parameters(given: Any) -> Mapping[str, Any]:
    """Return parameters; Invalid where there are keys that no firing takes."""
    if not isinstance(given, Mapping):
        raise Invalid("parameters must be a mapping", hint='{"inputs": {"rate": 0.1}}')
    for key, value in given.items():
        if key not in PARAMETERS:
            raise Invalid(f"unknown parameter {key!r}", hint=did_you_mean(str(key), PARAMETERS))
        if key not in ("compute", "experiment_name") and not isinstance(value, Mapping):
            raise Invalid(f"parameter `{key}` must be a mapping", hint='{"inputs": {"rate": 0.1}}')
    return given


def check_harmless(given: Any, *, key: str = "parameters") -> None:
    """Raise where parameters that came over a network could do more than choose values.

    A value may be no word that a shell would act upon, data is named as an asset or a URL, never as a path here, and no
    address is a compute: what a job has and knows would be sent there. `job_for` looks at data that is a text alone.
    """
    if isinstance(given, Mapping):
        for name, each in given.items():
            check_harmless(str(name), key=key)
            if name == "path" and isinstance(each, str):
                check_place(each, f"{key}.path")
            if name in ("compute", "default_compute") and isinstance(each, str):
                check_compute(each, f"{key}.{name}")
            check_harmless(each, key=f"{key}.{name}")
    elif isinstance(given, list):
        for each in given:
            check_harmless(each, key=key)
    elif isinstance(given, str) and not _HARMLESS.fullmatch(given):
        hint = "letters, digits and . , : / @ + = % _ -, words that do not begin with -"
        raise Invalid(f"`{key}` has characters that a shell would act upon", hint=hint)


def _check_data(declared: Any, given: Any, key: str) -> None:
    """Raise where a text takes the place of data, or of a group of data, and means a path of this machine."""
    if isinstance(declared, Mapping) and isinstance(given, Mapping):
        for name, each in given.items():
            _check_data(declared.get(name), each, f"{key}.{name}")
    elif isinstance(declared, Mapping) and isinstance(given, str):
        check_place(given, key)


def _job(workspace: Workspace, spec: Spec) -> Job:
    written, folder = _written(workspace, spec)
    return job_of(written, folder)


def _written(workspace: Workspace, spec: Spec) -> tuple[Spec, Path]:
    """Return the job as its file would say it, and where its relative paths start."""
    kept = spec["create_job"]
    if not isinstance(kept, Mapping) or "job" not in kept:
        return kept, Path(spec["folder"])
    name = reference(kept["job"])
    before = records.get(workspace, name.name if name else str(kept["job"]).removeprefix(PREFIX))
    written = {key: value for key, value in (before.spec.get("written") or {}).items() if key != "name"}
    if not written:
        raise Invalid(f"job {before.name!r} was not made from a file and cannot be made again")
    if before.spec.get("code_asset"):
        written["code"] = f"{PREFIX}{before.spec['code_asset'].removeprefix('code:')}"
    changes = {key: value for key, value in kept.items() if key != "job"}
    return merge(written, changes), Path(before.spec.get("folder") or spec["folder"])


def _with_parameters(written: Spec, parameters: Mapping[str, Any]) -> Spec:
    declared = written.get("inputs") or {}
    inputs: dict[str, Any] = {}
    for name, value in (parameters.get("inputs") or {}).items():
        if name not in declared:
            raise Invalid(f"the job has no input {name!r}", hint=did_you_mean(str(name), declared))
        is_data = isinstance(declared[name], Mapping) and not isinstance(value, Mapping)
        inputs[name] = {**declared[name], "path": value} if is_data else value
    outputs = written.get("outputs") or {}
    for name in parameters.get("outputs") or {}:
        if name not in outputs:
            raise Invalid(f"the job has no output {name!r}", hint=did_you_mean(str(name), outputs))
    changes = {key: value for key, value in parameters.items() if key != "inputs"}
    merged: Spec = merge(written, changes | ({"inputs": inputs} if inputs else {}))
    return merged


def _with_absolute_paths(changes: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    found = dict(changes)
    for key in ("inputs", "outputs"):
        if isinstance(found.get(key), Mapping):
            found[key] = {name: _absolute(each, folder) for name, each in found[key].items()}
    return found


def _absolute(given: Any, folder: Path) -> Any:
    if not isinstance(given, Mapping) or not isinstance(given.get("path"), str):
        return given
    where = target(given["path"], folder)
    return {**given, "path": str(where)} if isinstance(where, Path) else given
