"""The part of an AutoML job's process that forecasts series."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studiolo.automl_records import follow, keep_told, say

if TYPE_CHECKING:
    from finetune.automl.search import Began, Found
    from finetune.automl.wanted import Wanted
    from jobs.files.automl import AutoMLJob
    from jobs.parents import Family

SHOWN = 6  # series on the page


def work(family: Family, job: AutoMLJob, wanted: Wanted, *, tables: Mapping[str, Any], folder: Path) -> None:
    """Search for the best forecaster, and leave it."""
    from finetune.automl import workers
    from finetune.automl.forecasting import forecast

    events = forecast(tables["training_data"], wanted, folder=folder)
    found = follow(family, events, wanted.metric, began=_say_series)
    told = workers.apart(partial(_told, found, tables.get("test_data")), threads=wanted.threads)
    told["job"] = family.job.name
    keep_told(family, told)
    for name, output in job.outputs.items():
        if output.type == "mlflow_model":
            model = partial(_model, found, told, tables["training_data"], family.output(name))
            workers.apart(model, threads=wanted.threads)
    say(f"the best is {found.kind} with {wanted.metric} {found.score:.6g}; it ended because {found.why}")


def _say_series(began: Began) -> None:
    frame = began.rows.frame
    say(
        f"{len(began.rows.lines)} series, a step is {frame.frequency}, {frame.steps} steps ahead, "
        f"seasons of {', '.join(map(str, frame.seasons))} steps, held against {len(began.rows.cuts)} origins"
    )


def _told(found: Found, test: Any) -> dict[str, Any]:
    from finetune.automl import facts, metrics
    from finetune.automl.forecast_model import ForecastModel
    from finetune.automl.forecasting import measured

    backtest = found.rows
    frame = backtest.frame
    told = facts.summary(found, measured(backtest, found.predicted), rows=sum(map(len, backtest.lines)))
    told["validation"] = f"{len(backtest.cuts)} origins, {frame.steps} steps of {frame.frequency} ahead"
    told["series"] = {"count": len(backtest.lines), "frequency": frame.frequency, "steps": frame.steps,
                      "seasons": list(frame.seasons), "known_ahead": list(frame.known)}  # fmt: skip
    told["residuals"] = facts.residuals(backtest.target, found.predicted)
    last = backtest.held[-1]
    told["forecasts"] = [
        {
            "series": line.key,
            "truth": backtest.target[last][part].tolist(),
            "forecast": found.predicted[last][part].tolist(),
        }
        for number, line in enumerate(backtest.lines[:SHOWN])
        for part in [slice(number * frame.steps, (number + 1) * frame.steps)]
    ]
    if test is not None:
        said = ForecastModel(found.folder).predict(test.drop(columns=[frame.target]))
        told["test"] = metrics.of_numbers(test[frame.target].to_numpy(dtype=float), said, span=backtest.span)
    return told


def _model(found: Found, told: Mapping[str, Any], table: Any, target: Path) -> None:
    import pandas as pd

    from finetune.after.model_card import Result, Story, write
    from finetune.automl.forecast_model import save_mlflow

    frame = found.rows.frame
    line = found.rows.lines[0]
    ahead = pd.date_range(line.moments[-1], periods=3, freq=frame.frequency)[1:]
    names = dict(zip(frame.horizon.series, line.key.split("/"), strict=False))
    known = {name: table[name].iloc[-1] for name in frame.known}
    example = pd.DataFrame({frame.horizon.time: ahead, **names, **known})
    metadata = {"job": told["job"], "metric": told["metric"], "score": found.score}
    save_mlflow(found.folder, target, example=example, metadata=metadata)
    results = [
        Result(dataset=f"backtest: {told['validation']}", metric=name, value=value)
        for name, value in told["best"]["metrics"].items()
    ]
    results += [Result(dataset="test", metric=name, value=value) for name, value in told.get("test", {}).items()]
    write(
        Story(
            name=str(told["job"]), task="forecasting", method=f"AutoML: {found.kind}", library="mlflow",
            settings={"members": ", ".join(each.called for each in found.members), **told["series"]},
            results=results, made={"job": str(told["job"])}, limits=list(found.rows.notes),
            use=f"Rows with {frame.horizon.time!r} ask for forecasts; rows that have {frame.target!r} too go on with "
            "the series first.",
        ),
        target,
    )  # fmt: skip
