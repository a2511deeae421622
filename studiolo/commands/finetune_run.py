"""`studiolo finetune list`: which trainings there are and how they stand."""

from __future__ import annotations

from typing import Annotated

import typer

import studiolo
from studiolo import job_shapes
from studiolo.commands.formats import Answer

COLUMNS = ("name", "type", "status", "experiment_name", "display_name")
MOST = 50  # trainings in a list


def list_command(
    max_results: Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many, the newest.")] = MOST,
) -> Answer:
    """List trainings, newest first."""
    from studiolo.tuning.listing import trainings

    with studiolo.open_workspace() as workspace:
        shown = [job_shapes.job(workspace, job) for job in trainings(workspace, limit=max_results)]
    return Answer(value=shown, columns=COLUMNS, next="" if shown else "studiolo finetune run SPEC.yml")
