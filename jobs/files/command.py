"""Command jobs: a command line, its code, what goes in, what comes out, and the Python it runs in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.distribution import Distributed
from jobs.files.environment_file import EnvironmentField
from jobs.files.ports import Inputs, OutputsByName
from jobs.files.reading import Finding, Origin, Place
from jobs.files.record import Mark
from jobs.files.references import Code, Reference, Url
from jobs.files.resources import (
    CommandLimits,
    Compute,
    JobIdentity,
    QueueSettings,
    Resources,
    Services,
    Variables,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")

CodeField = Annotated[Path | Reference | Url | None, Code(), "The folder that it runs in, or one to fetch."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every job says of itself."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema", "id", "status", "creation_context", "log_files")

    origin: Origin
    findings: Annotated[tuple[Finding, ...], Mark.HIDDEN] = ()
    name: Annotated[str | None, "What it is called; made up where it is not said."] = None
    display_name: Annotated[str | None, "A name for people."] = None
    experiment_name: Annotated[str | None, "What it is shown among; the folder's name where it is not said."] = None
    description: Annotated[str, "What it does."] = ""
    tags: Annotated[Mapping[str, str | None], "Words to find it by."] = field(default_factory=dict)
    properties: Annotated[Mapping[str, str | None], "Kept with it."] = field(default_factory=dict)
    compute: Compute = None
    identity: JobIdentity = None
    services: Services = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where relative paths start: the folder of its file."""
        return self.origin.folder

    @property
    def experiment(self) -> str:
        """What it is shown among: what it says, or the name of its folder."""
        return self.experiment_name or self.folder.name or "Default"

    @property
    def unused(self) -> tuple[str, ...]:
        """What is written in the file and has no effect on this machine, one sentence each."""
        return tuple(str(found.what) for found in self.findings if found.weight == "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandJob(Job):
    """One command to run."""

    ignored: ClassVar[tuple[str, ...]] = (*Job.ignored, "parameters")

    type: Literal["command"] = "command"
    command: Annotated[str, "What bash runs in the code's folder; the last command's status decides."]
    environment: EnvironmentField = None
    code: CodeField = None
    environment_variables: Variables = field(default_factory=dict)
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    resources: Resources | None = None
    distribution: Distributed = None
    limits: CommandLimits | None = None
    queue_settings: QueueSettings | None = None
    parent_job_name: Annotated[str | None, "The run that it is shown under."] = None

    @property
    def timeout(self) -> float | None:
        """Seconds after which it is ended."""
        return None if self.limits is None else self.limits.timeout

    def settle(self, place: Place, written: Mapping[str, Any]) -> CommandJob:
        if "environment" not in written:
            place.lenient(
                "no-environment", "without `environment` the command runs in Studiolo's own Python",
                hint="name one: environment: azureml:sklearn-1.5@latest",
            )  # fmt: skip
        if not self.command.strip():
            place.under("command").object("empty-command", "`command` is empty")
        return self
