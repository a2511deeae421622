"""What the process of a job is told: all that was settled when it was submitted, so that nothing changes later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

Scalar = str | int | float | bool

READ_ONLY = ("", "ro_mount", "mount", "eval_mount")
COPIED = ("download", "eval_download")
EVALUATED = ("eval_mount", "eval_download")
DIRECT = "direct"
WRITABLE = "rw_mount"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundInput:
    """Data that the command reads: content by its digest, or a place of this machine that is used as it is."""

    type: str
    path: str  # as it was written; local ones are absolute
    mode: str = ""
    asset: str = ""  # "data:rows:1"
    digest: str = ""  # of the content; of a place: of its names, sizes and times
    is_folder: bool = True
    filename: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundOutput:
    """What the command writes, and the asset that it becomes."""

    type: str = "uri_folder"
    mode: str = ""
    asset: str = ""  # its name; without one it is named after the job
    version: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One command, settled."""

    command: str  # only `${{inputs.NAME}}` and `${{outputs.NAME}}` of data are left to fill in
    run_id: str
    experiment: str = ""
    code: str = ""  # the digest of a folder
    code_asset: str = ""
    inputs: Mapping[str, Scalar | BoundInput] = field(default_factory=dict)
    outputs: Mapping[str, BoundOutput] = field(default_factory=dict)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    environment: Any = None  # as a file would say it
    prepared: Mapping[str, Any] | None = None  # what it was made into, where that was done already
    passed: Mapping[str, str] = field(default_factory=dict)  # of the environment of whoever submitted the job
    distribution: Mapping[str, Any] | None = None  # of several processes: what their launcher is told
    ray: Mapping[str, Any] | None = None  # the cluster that runs it, and what is asked of that
    timeout: float | None = None  # seconds
    grace: float = 10.0  # seconds between SIGTERM and SIGKILL
    tags: Mapping[str, str] = field(default_factory=dict)
    tracking: tuple[str, ...] = ()  # the command that starts MLflow's server
    made_with: Mapping[str, Any] = field(default_factory=dict)  # git, Python, packages, hardware
    written: Mapping[str, Any] = field(default_factory=dict)  # the job as its file said it
    folder: str = ""  # where its relative paths start
    carries: bool = False  # an attempt goes on from what those before it have finished
    ours: bool = False  # the command is a module of ours that has other jobs do the work (`jobs.parents`)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Spec:
        """Read it again. What a newer Studiolo has added is passed over."""
        known = {each.name for each in fields(cls)}
        values = {key: value for key, value in plain.items() if key in known}
        values["inputs"] = {
            key: BoundInput(**value) if isinstance(value, dict) else value
            for key, value in (plain.get("inputs") or {}).items()
        }
        outputs = plain.get("outputs") or {}
        values["outputs"] = {key: BoundOutput(**outputs[key]) for key in outputs}
        values["tracking"] = tuple(plain.get("tracking") or ())
        return cls(**values)

    @property
    def data(self) -> dict[str, BoundInput]:
        """The inputs that are no literals."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, BoundInput)}

    @property
    def reads(self) -> list[str]:
        """The assets that go into the job, as lineage calls them."""
        found = [self.code_asset, *(value.asset for value in self.data.values())]
        return [each for each in dict.fromkeys(found) if each]

    @property
    def params(self) -> dict[str, str]:
        """The literals, as the run's parameters."""
        return {name: str(value) for name, value in self.inputs.items() if not isinstance(value, BoundInput)}
