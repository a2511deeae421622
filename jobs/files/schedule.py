"""Schedules: a job, an import or a monitor that runs again and again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.command import Job
from jobs.files.data import DataImport
from jobs.files.environment_file import EnvironmentField
from jobs.files.kinds import JOB
from jobs.files.loading import follow
from jobs.files.monitor import Monitor
from jobs.files.pipeline import Settings
from jobs.files.ports import Inputs, OutputsByName
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark, Record
from jobs.files.references import PREFIX, Reference, reference
from jobs.files.shapes import Anything, ByKind, Definitions, Named, Schema, named
from jobs.files.spark import Conf
from jobs.files.trigger import TRIGGER, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    """A job that was submitted before, and what is to be different."""

    job: Reference
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """What runs: a job file, `azureml:JOB`, or one of them with what is to be different."""

    def read(self, place: Place, value: Any) -> Job | RemoteJob:
        if isinstance(value, str):
            return self._named(place, value, {})
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a job file, a job or a mapping with `job`, not {named(value)}")
        CHANGES.read(place, value)
        job = str(value["job"])
        if job.startswith(PREFIX) and "type" not in value:
            raise place.refused("`type` is needed where a submitted job is changed", hint="type: pipeline")
        if job.startswith(PREFIX) and value["type"] != "pipeline":
            place.lenient("changed-job", "Azure ML changes no submitted jobs but pipelines")
        changes = {key: each for key, each in value.items() if key != "job"}
        return self._named(place.under("job"), job, changes)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, CHANGES.schema(definitions)]}

    def _named(self, place: Place, written: str, changes: Mapping[str, Any]) -> Job | RemoteJob:
        if written.startswith(PREFIX):
            known = reference(written) or Reference(name=written.removeprefix(PREFIX))
            return RemoteJob(job=known, changes=changes)
        if written.startswith("file:"):
            raise place.wrong(f"cannot be {written!r}", hint=f"write {written.removeprefix('file:')}")
        inside = follow(place, written)
        root = merge(inside.reading.document.root, changes)
        reading = replace(inside.reading, document=replace(inside.reading.document, root=root))
        job: Job = JOB.read(Place(reading), root)
        return job


def merge(written: Any, changes: Any) -> Any:
    """Return a job's values with the schedule's over them, key by key."""
    if not isinstance(written, Mapping) or not isinstance(changes, Mapping):
        return copy.deepcopy(changes)
    return {
        key: merge(written.get(key), changes[key]) if key in changes else copy.deepcopy(written[key])
        for key in {**written, **changes}
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed(Job):
    """What a schedule may change in a job of any kind."""

    job: Annotated[str, "A job file, or azureml:JOB."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPipeline(Changed):
    """What a schedule may change in a pipeline."""

    type: Literal["pipeline"] = "pipeline"
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    settings: Settings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedCommand(Changed):
    """What a schedule may change in a command job: all but the command and its code."""

    ignored: ClassVar[tuple[str, ...]] = (*Job.ignored, "parameters")

    type: Literal["command"] = "command"
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    environment: EnvironmentField = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSpark(Changed):
    """What a schedule may change in a Spark job."""

    type: Literal["spark"] = "spark"
    conf: Conf = field(default_factory=dict)
    environment: Annotated[EnvironmentField, Mark.NULLABLE] = None


CHANGES = ByKind(
    {"pipeline": Record(ChangedPipeline), "command": Record(ChangedCommand), "spark": Record(ChangedSpark)},
    otherwise="pipeline",
)


@dataclass(frozen=True, slots=True)
class ScheduledImport:
    """What is imported: a file, or what it would say."""

    def read(self, place: Place, value: Any) -> DataImport:
        inside, written = place, value
        if isinstance(value, str):
            inside = follow(place, value)
            written = inside.reading.document.root
        made: DataImport = Record(DataImport).read(inside, written)
        return made

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, Record(DataImport).schema(definitions)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A job, an import or a monitor, and when it runs."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "creation_context", "is_enabled", "provisioning_state")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str, "What it is called."]
    id: str | None = None
    display_name: Annotated[str | None, "A name for people."] = None
    description: Annotated[str, "What it is for."] = ""
    tags: Annotated[Mapping[str, Any], Named(Anything()), "Words to find it by."] = field(default_factory=dict)
    properties: Annotated[Mapping[str, str | None], "Kept with it."] = field(default_factory=dict)
    trigger: Annotated[Trigger | None, TRIGGER, "When it runs."] = None
    create_job: Annotated[Job | RemoteJob | None, ScheduledJob(), "The job that runs."] = None
    import_data: Annotated[DataImport | None, ScheduledImport(), "What is imported."] = None
    create_monitor: Annotated[Monitor | None, "What is watched."] = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> Schedule:
        said = [key for key in ("create_job", "import_data", "create_monitor") if key in written]
        if len(said) != 1:
            what = "`create_job`, `import_data` or `create_monitor`"
            raise place.wrong(f"needs one of {what}, not {' and '.join(said) or 'none'}")
        if self.trigger is None:
            raise place.refused("`trigger` is needed")
        return self
