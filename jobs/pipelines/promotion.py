"""What steps have left becomes what their pipeline leaves: its outputs, which are assets once it has completed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.pipelines.submission import promoted
from jobs.pipelines.wiring import Given
from workspace.errors import NotFound
from workspace.paths import writing

if TYPE_CHECKING:
    from jobs.pipelines.process import Pipeline


def promote(pipeline: Pipeline) -> None:
    """Lay the outputs of a pipeline where its process writes them."""
    for name, key, port in _ends(pipeline):
        outcome = pipeline.wiring.outcomes[key]
        if not outcome.is_completed:
            continue  # a branch that was not taken
        if port not in outcome.outputs:
            raise NotFound(f"step {key!r} (job {outcome.job}) has left no output {port!r}, which the pipeline gives")
        lay(outcome.outputs[port], pipeline.family.output(name))


def lay(given: Given, target: Path) -> None:
    """Lay an output at a place; its bytes are shared where the file system can."""
    with writing(target):
        if given.place.is_dir():
            shutil.copytree(given.place, target, copy_function=_link, dirs_exist_ok=True)
            return
        if target.is_dir():
            target.rmdir()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _link(str(given.place), str(target))


def _ends(pipeline: Pipeline) -> Iterator[tuple[str, str, str]]:
    for key, step in pipeline.job.steps.items():
        for port, name in promoted(step).items():
            yield name, key, port


def _link(source: str, target: str) -> None:
    place = Path(target)
    place.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many names
        shutil.copyfile(source, target)
