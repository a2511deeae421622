"""Spark jobs: a PySpark script and what Spark is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.command import CodeField, Job
from jobs.files.environment_file import EnvironmentField
from jobs.files.ports import Inputs, OutputsByName
from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record
from jobs.files.resources import JobIdentity
from jobs.files.shapes import Anything, Choice, Definitions, Either, Named, Schema

INSTANCE_TYPES = (
    "standard_e4s_v3", "standard_e8s_v3", "standard_e16s_v3", "standard_e32s_v3", "standard_e64s_v3",
)  # fmt: skip
# What the configuration may be called beside Spark's own names.
CONF_NAMES: Mapping[str, str] = {
    "spark.driver.cores": "driver_cores",
    "spark.driver.memory": "driver_memory",
    "spark.executor.cores": "executor_cores",
    "spark.executor.memory": "executor_memory",
    "spark.executor.instances": "executor_instances",
    "spark.dynamicAllocation.enabled": "dynamic_allocation_enabled",
    "spark.dynamicAllocation.minExecutors": "dynamic_allocation_min_executors",
    "spark.dynamicAllocation.maxExecutors": "dynamic_allocation_max_executors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFile:
    """The script that Spark runs."""

    file: Annotated[str, "The script, in `code`."]

    def settle(self, place: Place, _: Mapping[str, Any]) -> EntryFile:
        if not self.file:
            raise place.under("file").wrong("is empty")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryClass:
    """The class that Spark runs."""

    class_name: Annotated[str, "A class of one of the jars."]


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """Numbers with points between them."""

    def read(self, place: Place, value: Any) -> str:
        written = str(value) if isinstance(value, int | float | str) else ""
        if not re.fullmatch(r"\s*[+-]?\d+\s*(\.\s*[+-]?\d+\s*)*", written):
            raise place.wrong(f"must be numbers with points between, as 3.4, not {value!r}")
        return written

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["string", "number"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkResources:
    """Which machines of the cloud Spark would run on, and which Spark it is."""

    instance_type: Annotated[str, Choice(INSTANCE_TYPES), NoEffect("Spark runs on this machine")]
    runtime_version: Annotated[str, RuntimeVersion(), "Which Spark: 3.4."]


Entry = EntryFile | EntryClass
ENTRY = Either((Record(EntryFile), Record(EntryClass)), "a mapping with `file`")
EntryField = Annotated[Entry, ENTRY, "What Spark runs."]
Files = tuple[str, ...]
Conf = Annotated[Mapping[str, Any], Named(Anything()), "What Spark is told, by Spark's names."]
SparkEnvironment = Annotated[EnvironmentField, Mark.NULLABLE]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkJob(Job):
    """One Spark application to run."""

    ignored: ClassVar[tuple[str, ...]] = Job.ignored

    type: Literal["spark"]
    entry: EntryField
    code: CodeField = None
    py_files: Annotated[Files, "Put on the Python path."] = ()
    jars: Annotated[Files, "Put on the class path."] = ()
    files: Annotated[Files, "Laid beside the script."] = ()
    archives: Annotated[Files, "Unpacked beside the script."] = ()
    conf: Conf = field(default_factory=dict)
    properties: Annotated[Mapping[str, Any], Named(Anything())] = field(default_factory=dict)
    environment: SparkEnvironment = None
    args: Annotated[str | None, "What the script is given."] = None
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    resources: SparkResources | None = None
    identity: JobIdentity = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> SparkJob:
        for key in ("py_files", "jars", "files", "archives"):
            refuse_doubles(place.under(key), getattr(self, key))
        return self


def refuse_doubles(place: Place, listed: Files) -> None:
    """Refuse a list that names something twice."""
    if len(set(listed)) != len(listed):
        raise place.wrong("names something twice")


def option(conf: Mapping[str, Any], name: str) -> Any:
    """Return what Spark is told under its own name, or under the name that Azure ML has for it."""
    found = conf.get(name)
    return conf.get(CONF_NAMES.get(name, name)) if found is None else found
