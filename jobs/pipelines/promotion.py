"""What steps have left becomes what their pipeline leaves: its outputs, which are assets once it has completed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobs.pipelines.submission import promoted
from jobs.sharing import share
from workspace.errors import NotFound

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
        share(outcome.outputs[port].place, pipeline.family.output(name))


def _ends(pipeline: Pipeline) -> Iterator[tuple[str, str, str]]:
    for key, step in pipeline.job.steps.items():
        for port, name in promoted(step).items():
            yield name, key, port
