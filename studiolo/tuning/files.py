"""Trainings as they are written: our own file, or no file at all; each becomes the same job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import files
from jobs.files.overrides import Override
from workspace.documents import read_yaml
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.files.command import Job

TYPE = ("type", "tuning")
FITTING = ("tuning", "finetuning", "distillation")


def read(path: Path, overrides: tuple[Override, ...] = ()) -> Job:
    """Read a training from its file; one that does not say its `type` is ours. Azure ML's `finetuning` is read too."""
    root = read_yaml(path).root
    kind = root.get("type") if isinstance(root, dict) else None
    if kind is not None and kind not in FITTING:
        hint = f"studiolo job create -f {path}"
        raise Invalid(f"{path} is a job of type {kind!r}, and no training", hint=hint)
    return files.read_job(path, overrides if kind else (TYPE, *overrides))


def made(values: dict[str, Any], overrides: tuple[Override, ...] = ()) -> Job:
    """Return the training that options say: `made({"base": "smollm2-135m-instruct", "data": "rows.jsonl"})`."""
    found: Job = files.made("job", {"type": TYPE[1], **values}, Path.cwd(), overrides)
    return found
