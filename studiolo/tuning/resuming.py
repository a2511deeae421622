"""A training that failed, begun again: the same choices, from its last checkpoint on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs import files
from jobs.files.overrides import Override
from jobs.folders import job_folder
from jobs.spec import Spec
from studiolo.tuning.listing import training
from workspace.errors import Conflict, NotFound

if TYPE_CHECKING:
    from jobs.files.command import Job
    from workspace.home import Workspace


def again(workspace: Workspace, name: str, overrides: tuple[Override, ...] = ()) -> Job:
    """Return the training that goes on where one has stopped; `overrides` are what is to be another way now."""
    before = training(workspace, name)
    if not before.ended:
        raise Conflict(f"training {name!r} is {before.status}", hint=f"studiolo job stream {name}")
    if not (job_folder(workspace.home, before.name) / "work" / "checkpoints").is_dir():
        raise NotFound(f"training {name!r} has left no checkpoint", hint="begin it anew: studiolo finetune run")
    spec = Spec.of(before.spec)
    written = {key: value for key, value in spec.written.items() if key != "name"}
    resumed = ("checkpoints.resume_from", before.name)
    found: Job = files.made("job", written, Path(spec.folder), (resumed, *overrides))
    return found
