"""The process of an AutoML job, `python -m studiolo.automl_process NAME`: it searches, records each trial, and keeps
the best model. Killed, it is made again and goes on with the trials that had ended."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import run_log
from jobs.folders import job_folder
from jobs.parents import Family, lead
from studiolo.automl_records import OUTPUTS, follow, keep_told, say

if TYPE_CHECKING:
    from finetune.automl.search import Began, Found
    from finetune.automl.wanted import Wanted
    from jobs.files.automl import AutoMLJob

# Threads that wait by spinning would take a shared machine's cores from each other.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false"}


def work(family: Family) -> None:
    """Search, and leave the best model."""
    os.environ.update(PASSIVE)
    from finetune.automl.rows import read_table
    from finetune.automl.wanted import FORECASTING, of_job

    job: Any = family.read()
    wanted = of_job(job)
    tables = {name: read_table(family.given(name)) for name in family.spec.inputs}
    folder = job_folder(family.workspace.home, family.job.name) / "work"
    OUTPUTS.mkdir(exist_ok=True)
    _log_params(family, wanted)
    if wanted.task == FORECASTING:
        from studiolo import automl_forecasting

        automl_forecasting.work(family, job, wanted, tables=tables, folder=folder)
        return
    found = _searched(family, wanted, tables, folder)
    _keep(family, job, found, tables.get("test_data"))


def _searched(family: Family, wanted: Wanted, tables: Mapping[str, Any], folder: Path) -> Found:
    """Search, and record each trial as a run of its own."""
    from finetune.automl.search import search

    events = search(tables["training_data"], wanted, folder=folder, validation=tables.get("validation_data"))
    return follow(family, events, wanted.metric, began=_say_columns)


def _keep(family: Family, job: AutoMLJob, found: Found, test: Any) -> None:
    """Leave the model as MLflow has models, with its card, and everything that is told of the search."""
    from functools import partial

    from finetune.automl import workers

    threads = found.rows.wanted.threads
    told = workers.apart(partial(_told, found, test), threads=threads)
    told["job"] = family.job.name
    keep_told(family, told)
    for name, output in job.outputs.items():
        if output.type == "mlflow_model":
            workers.apart(partial(_model, found, told, family.output(name)), threads=threads)
    say(f"the best is {found.kind} with {told['metric']} {found.score:.6g}; it ended because {found.why}")


def _told(found: Found, test: Any) -> dict[str, Any]:
    from finetune.automl import facts
    from finetune.automl.model import TableModel

    told = facts.facts(found)
    if test is not None:
        told["test"] = facts.tested(TableModel(found.folder), test, found)
    features = facts.featurization(found)
    (OUTPUTS / "featurization.json").write_text(json.dumps(features, indent=1, default=str))
    (OUTPUTS / "featurization.md").write_text(facts.featurization_page(features))
    return told


def _model(found: Found, told: Mapping[str, Any], target: Path) -> None:
    from finetune.after.model_card import Result, Story, write
    from finetune.automl.model import save_mlflow

    rows = found.rows
    metadata = {"job": told["job"], "metric": told["metric"], "score": found.score}
    save_mlflow(found.folder, target, example=rows.frame.head(2), columns=rows.plan.columns, metadata=metadata)
    validation = f"{told['validation']} of the training data"
    results = [Result(dataset=validation, metric=name, value=value) for name, value in told["best"]["metrics"].items()]
    results += [Result(dataset="test", metric=name, value=value) for name, value in told.get("test", {}).items()]
    names = ", ".join(f"{each.called} ({each.weight:.2f})" for each in found.members)
    write(
        Story(
            name=str(told["job"]), task=rows.wanted.task, method=f"AutoML: {found.kind}", library="mlflow",
            settings={"members": names, "target": rows.wanted.target, "rows": len(rows.target),
                      "trials": len(found.outcomes)},
            results=results, made={"job": str(told["job"])}, limits=list(rows.notes),
            use="Deploy it without code: `model: azureml:NAME:VERSION`; with MLflow, `mlflow.pyfunc.load_model(PATH)`.",
        ),
        target,
    )  # fmt: skip


def _say_columns(event: Began) -> None:
    for column in event.rows.plan.columns:
        say(f"column {column.name}: {column.purpose}, {column.why}")


def _log_params(family: Family, wanted: Wanted) -> None:
    params = {"task": wanted.task, "target": wanted.target, "primary_metric": wanted.metric}
    run_log.log(family.workspace.light, family.spec.run_id, params=params)


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
