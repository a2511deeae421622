"""An AutoML job is submitted: its data become assets, its room is settled, and what nothing here can do is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finetune.automl.wanted import of_job
from jobs.files.ports import Input, Output
from jobs.needs import Capacity, needs_of
from jobs.parents import submit_parent
from jobs.submit import Wishes
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.files.automl import AutoMLJob
    from jobs.records import JobRecord
    from workspace.home import Workspace

KIND = "automl"
MODULE = "studiolo.automl_process"
MODEL = "best_model"
TABLES = ("training_data", "validation_data", "test_data")


def submit_automl(workspace: Workspace, job: AutoMLJob, wishes: Wishes | None = None) -> JobRecord:
    """Record a search and begin it; it goes on whatever happens to this process, and from where it was after a kill."""
    wanted = of_job(job)
    job = replace(job, inputs=_tables(job), outputs=_outputs(job))
    properties = dict(job.resources.properties) if job.resources else {}
    properties.setdefault("cpus", min(Capacity.of(workspace.settings).cpus, wanted.at_once * wanted.threads))
    return submit_parent(workspace, job, kind=KIND, module=MODULE, wishes=wishes, needs=needs_of(properties))


def _tables(job: Any) -> dict[str, Input]:
    found: dict[str, Input] = {}
    for name in TABLES:
        given = getattr(job, name, None)
        if isinstance(given, str):
            raise Invalid(f"`{name}` is {given!r}, which only a pipeline can fill in")
        if given is not None:
            found[name] = given
    return found


def _outputs(job: AutoMLJob) -> dict[str, Output]:
    """Return the outputs; there is always one that is the model."""
    outputs = dict(job.outputs)
    if not any(each.type == "mlflow_model" for each in outputs.values()):
        outputs[MODEL] = Output(type="mlflow_model")
    return outputs
