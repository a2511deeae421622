"""The model of a parallel task of type `model`: one that MLflow has logged, or any beside an entry script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs import consent
from jobs.files.parallel_job import ParallelJob
from jobs.files.ports import Input
from jobs.inputs import bind
from workspace.assets import FILENAME
from workspace.errors import Denied, Invalid
from workspace.home import Workspace

ALLOW = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"  # MLflow's own switch, which a job's file may set


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as an input, what its folder is called, and what MLflow is told."""

    given: Input
    called: str
    variables: Mapping[str, str] = field(default_factory=dict)


def model_of(workspace: Workspace, job: ParallelJob) -> Model:
    """Return the model of a task; one that MLflow loads and that can run code only where the job's file allows it."""
    task = job.task
    if not task.model:
        raise Invalid("a parallel task of type model needs `model`", hint="model: azureml:NAME:VERSION, or a folder")
    given = Input(type="custom_model", path=task.model)
    bound = bind(workspace, "model", given, job.folder)
    if bound.place:  # too large for a copy to be kept
        place, called = Path(bound.place), Path(bound.place).name
    else:
        asset = workspace.assets.get(bound.asset.partition(":")[0], bound.asset)
        kept = str(asset.properties.get(FILENAME) or (asset.name if asset.kind == "model" else bound.path))
        place, called = workspace.assets.path(asset), Path(kept).name
    if task.entry_script:
        return Model(given=given, called=called)
    if not (place / consent.MLMODEL).is_file():
        hint = "give an entry_script that loads it from AZUREML_MODEL_DIR"
        raise Invalid(f"model {task.model!r} was not logged by MLflow: a script must say how it is asked", hint=hint)
    allowed = str(job.environment_variables.get(ALLOW, "")).lower() in ("1", "true")
    objection = consent.objection(place)
    if objection and not allowed:
        hint = f'environment_variables: {{{ALLOW}: "true"}}, if you know who made it'
        raise Denied(f"loading {task.model} can run code: {objection}", hint=hint)
    # MLflow's own switch stops skops too, which is harmless where the model asks to trust nothing.
    return Model(given=given, called=called, variables={ALLOW: str(allowed or consent.is_skops(place)).lower()})
