"""The border: every kind of Azure ML CLI v2 file, read into frozen dataclasses or refused with its line.

`read_job(path)` and its siblings raise Invalid with `file:line:column` for the first thing that cannot be right, and
keep what is worth saying in `findings`. `overrides` are what `--set` says, as `overrides.parse` reads it. `strict`
refuses all that Azure ML's package refuses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.files.kinds import KINDS
from jobs.files.loading import start, start_made
from jobs.files.overrides import Override, apply
from jobs.files.reading import Place

if TYPE_CHECKING:
    from jobs.files.command import Job
    from jobs.files.component import Component
    from jobs.files.compute import Compute
    from jobs.files.connection import Connection
    from jobs.files.data import Data, DataImport, MLTable
    from jobs.files.datastore import Datastore
    from jobs.files.environment_file import EnvironmentFile
    from jobs.files.model import Model, ModelPackage
    from jobs.files.registry import Registry
    from jobs.files.schedule import Schedule
    from jobs.files.workspace_file import WorkspaceFile

Overrides = tuple[Override, ...]


def read_job(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Job:
    """Read a job of any kind: command, sweep, pipeline, spark, automl, fine-tuning, distillation."""
    found: Job = read("job", path, overrides, strict=strict)
    return found


def read_component(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Component:
    """Read a component of any kind."""
    found: Component = read("component", path, overrides, strict=strict)
    return found


def read_data(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Data:
    """Read a data asset."""
    found: Data = read("data", path, overrides, strict=strict)
    return found


def read_data_import(path: Path, overrides: Overrides = (), *, strict: bool = False) -> DataImport:
    """Read what is to be imported from elsewhere."""
    found: DataImport = read("data_import", path, overrides, strict=strict)
    return found


def read_mltable(path: Path) -> MLTable:
    """Read an MLTable file: how the files of its folder are read as a table."""
    found: MLTable = read("mltable", path)
    return found


def read_environment(path: Path, overrides: Overrides = (), *, strict: bool = False) -> EnvironmentFile:
    """Read an environment."""
    found: EnvironmentFile = read("environment", path, overrides, strict=strict)
    return found


def read_model(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Model:
    """Read a model."""
    found: Model = read("model", path, overrides, strict=strict)
    return found


def read_model_package(path: Path, overrides: Overrides = (), *, strict: bool = False) -> ModelPackage:
    """Read how a model is packed into an image."""
    found: ModelPackage = read("model_package", path, overrides, strict=strict)
    return found


def read_datastore(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Datastore:
    """Read a datastore of any kind."""
    found: Datastore = read("datastore", path, overrides, strict=strict)
    return found


def read_connection(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Connection:
    """Read a connection of any kind."""
    found: Connection = read("connection", path, overrides, strict=strict)
    return found


def read_compute(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Compute:
    """Read a compute of any kind."""
    found: Compute = read("compute", path, overrides, strict=strict)
    return found


def read_registry(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Registry:
    """Read a registry."""
    found: Registry = read("registry", path, overrides, strict=strict)
    return found


def read_schedule(path: Path, overrides: Overrides = (), *, strict: bool = False) -> Schedule:
    """Read a schedule of a job, an import or a monitor."""
    found: Schedule = read("schedule", path, overrides, strict=strict)
    return found


def read_workspace(path: Path, overrides: Overrides = (), *, strict: bool = False) -> WorkspaceFile:
    """Read a workspace."""
    found: WorkspaceFile = read("workspace", path, overrides, strict=strict)
    return found


def job_of(plain: Mapping[str, Any], folder: Path) -> Job:
    """Read a job from plain values, as its file would say them; relative paths start in `folder`."""
    found: Job = _finished(start_made(plain, folder), "job")
    return found


def component_of(plain: Mapping[str, Any], folder: Path) -> Component:
    """Read a component from plain values."""
    found: Component = _finished(start_made(plain, folder), "component")
    return found


def made(kind: str, plain: Mapping[str, Any], folder: Path, overrides: Overrides = ()) -> Any:
    """Read plain values as a file of a kind that is named would say them; relative paths start in `folder`."""
    place = start_made(plain, folder)
    return _finished(Place(replace(place.reading, document=apply(place.reading.document, overrides))), kind)


def read(kind: str, path: Path, overrides: Overrides = (), *, strict: bool = False) -> Any:
    """Read a file of a kind that is named: `read("schedule", path)`. `KINDS` has them all."""
    return _finished(start(path, overrides, strict=strict), kind)


def _finished(place: Place, kind: str) -> Any:
    # Checks know what files are read into, so they are above us: they come in when a file is read.
    from jobs.checks import problems

    found = KINDS[kind].read(place, place.reading.document.root)
    findings = (*place.reading.findings, *problems(found))
    refusing = ("refusal", "leniency") if place.reading.strict else ("refusal",)
    for finding in findings:
        if finding.weight in refusing:
            raise finding.error()
    return dataclasses.replace(found, findings=findings)
