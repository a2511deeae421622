"""What a command finds in its environment: Azure ML's and MLflow's variables, its own, and no secrets of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.folders import attempt_folder
from jobs.leftovers import MARKER, mark
from jobs.parallel.finished import FOLDER
from jobs.spec import Spec

# Enough to find programs and speak a language.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV",
          "LD_LIBRARY_PATH")  # fmt: skip
DEVICES = "CUDA_VISIBLE_DEVICES"
DOOR = "STUDIOLO_TRACKING_URI"  # where MLflow answers a command, also where its script sets MLFLOW_TRACKING_URI


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known only when the attempt begins: paths of inputs and outputs, GPUs, where MLflow answers."""

    home: Path
    name: str
    number: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    devices: str | None  # CUDA_VISIBLE_DEVICES; None: as it is
    python: Mapping[str, str]  # of a prepared environment; nothing where our own Python is used
    tracking: Mapping[str, str]
    settings: Mapping[str, str]  # of the workspace, for a command that is ours


def passed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a job keeps of the environment of whoever submits it."""
    return {name: environment[name] for name in PASSED if name in environment}


def variables(spec: Spec, told: Told) -> dict[str, str]:
    """Return the whole environment of the command."""
    found = dict(spec.passed)
    if spec.ours:  # it makes environments; how packages are fetched may be secret and is never in the records
        from jobs.environments.layer import fetching  # here: other jobs need nothing of it

        found |= fetching(os.environ)
    found["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{found.get('PATH', os.defpath)}"
    found |= told.python
    found |= spec.environment_variables
    if told.devices is not None and not spec.ours:
        found[DEVICES] = told.devices
    found |= {f"AZURE_ML_INPUT_{name}": value for name, value in told.inputs.items()}
    found |= {f"AZURE_ML_OUTPUT_{name}": value for name, value in told.outputs.items()}
    found |= {f"AZUREML_DATAREFERENCE_{name}": value for name, value in {**told.inputs, **told.outputs}.items()}
    if spec.carries:
        found[FOLDER] = str(attempt_folder(told.home, told.name, told.number).finished)
    return found | {
        MARKER: mark(spec.run_id, told.number),
        "STUDIOLO_JOB": told.name,
        "STUDIOLO_HOME": str(told.home),
        "AZUREML_RUN_ID": spec.run_id,
        "AZUREML_EXPERIMENT_NAME": spec.experiment,
        "AZUREML_CR_NODE_RANK": "0",
        "NODE_RANK": "0",
        "MLFLOW_RUN_ID": spec.run_id,
        "MLFLOW_EXPERIMENT_NAME": spec.experiment,
        "PYTHONUNBUFFERED": "1",
        **_tracking(spec, told),
    }


def _tracking(spec: Spec, told: Told) -> dict[str, str]:
    """Return how MLflow is found. What is ours has the settings, and who it is to a server that is elsewhere."""
    uri = told.tracking.get("MLFLOW_TRACKING_URI", "")
    if spec.ours:
        is_elsewhere = told.settings.get("MLFLOW_TRACKING_URI") == uri
        return {**told.settings, **(told.tracking if is_elsewhere else {})}
    return {DOOR: uri, **told.tracking}
