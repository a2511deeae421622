"""The border: every kind of Azure ML CLI v2 file, read into frozen dataclasses or refused with its line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jobs.files.command import CommandJob, Job
from jobs.files.loading import start, start_made
from jobs.files.overrides import Override
from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.shapes import ByKind, Shape

Made = TypeVar("Made")


def read_job(path: Path, overrides: tuple[Override, ...] = (), *, strict: bool = False) -> Job:
    """Read a job file of any kind, or raise Invalid with `file:line:column` for the first thing that cannot be right.

    `overrides` are what `--set` says, as `overrides.parse` reads it. `strict` refuses all that Azure ML refuses.
    """
    return _finished(start(path, overrides, strict=strict), _job_shape(), Job)


def job_of(plain: Mapping[str, Any], folder: Path) -> Job:
    """Read a job from plain values, as its file would say them; relative paths start in `folder`."""
    return _finished(start_made(plain, folder), _job_shape(), Job)


def _job_shape() -> Shape:
    kinds: dict[str, Shape] = {"command": Record(CommandJob)}
    return ByKind(kinds, otherwise="command")


def _finished(place: Place, shape: Shape, made: type[Made]) -> Made:
    # Checks know what files are read into, so they are above us: they come in when a file is read.
    from jobs.checks import problems

    found = shape.read(place, place.reading.document.root)
    findings = (*place.reading.findings, *problems(found))
    for finding in findings:
        if finding.weight == "refusal":
            raise finding.error()
    if not isinstance(found, made):
        raise TypeError(f"{type(found).__name__} is no {made.__name__}")
    return dataclasses.replace(found, findings=findings)  # type: ignore[type-var]
