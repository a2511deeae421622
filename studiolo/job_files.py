"""What a job has left, as files: what it wrote and said, and its outputs by name."""

from __future__ import annotations

import shutil
from pathlib import Path

from jobs import records
from jobs.folders import attempt_folder, outputs_of
from jobs.records import JobRecord
from workspace.errors import Conflict, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.paths import writing

ARTIFACTS, NAMED = "artifacts", "named-outputs"  # as `az ml job download` calls them
BEST = "best_child_run_id"  # the tag of a sweep that names the trial whose outputs are the sweep's
DEFAULT = ("default", "artifacts")


def download(
    workspace: Workspace, name: str, target: Path, *, output: str = "", everything: bool = False
) -> list[Path]:
    """Copy what an ended job has left into a folder: `artifacts`, or one output, or all; return the folders made.

    Of a sweep these are the files of its best trial.
    """
    job = records.get(workspace, name)
    if not job.ended:
        hint = f"studiolo job stream {job.name}"
        raise Conflict(f"job {job.name!r} is {job.status}: its files are there when it has ended", hint=hint)
    if best := job.tags.get(BEST):
        job = records.get(workspace, best)
    there = _there(workspace, job)
    if output and output not in there:
        known = [*there, *DEFAULT]
        raise NotFound(f"job {job.name!r} has left no output {output!r}", hint=did_you_mean(output, known))
    wanted = list(there) if everything else [output or DEFAULT[0]]
    return [_copied(there[key], target / (ARTIFACTS if key in DEFAULT else f"{NAMED}/{key}")) for key in wanted]


def _there(workspace: Workspace, job: JobRecord) -> dict[str, Path]:
    """Return where each output lies; what was written beside them and said is `default`."""
    artifacts = workspace.home / "runs" / str(job.run_id) / "artifacts"
    if not artifacts.exists():
        artifacts = attempt_folder(workspace.home, job.name, job.attempt).logs
    places = outputs_of(workspace.home, job.name)
    outputs = {path.name: path for path in sorted(places.iterdir())} if places.exists() else {}
    return {DEFAULT[0]: artifacts, **outputs}


def _copied(source: Path, target: Path) -> Path:
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy2(source, target / source.name)
        elif source.exists():
            shutil.copytree(source, target, dirs_exist_ok=True, symlinks=False)
    return target
