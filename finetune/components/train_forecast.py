"""Train a forecast of one or many series."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.components import door
from finetune.tabular import forecaster, keeping, scores, tables
from finetune.tabular.problems import Problem

if TYPE_CHECKING:
    from pandas import DataFrame


def main(given: argparse.Namespace) -> None:
    """Train on what lies before, measure what lies after, and keep a forecaster of both."""
    settings = forecaster.Settings(
        target=given.target, time=given.time, series=given.series, horizon=given.horizon, season=given.season,
        way=given.way, trees=given.trees,
    )  # fmt: skip
    table = tables.read(given.train)
    made = forecaster.fit(table, settings)
    metrics = {}
    if given.validation:
        later = tables.read(given.validation)
        metrics = scores.numbers(later[given.target].to_numpy(dtype=float), made.predict(later))
        door.log(metrics, {"way": settings.way, "season": settings.season, "horizon": settings.horizon})
    example = _next(made)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder) / "forecaster")
        keeping.keep_own(given.model, Path(folder) / "forecaster", loader="finetune.tabular.forecaster",
                         example=example, said=made.predict(example))  # fmt: skip
    problem = Problem(task="forecasting", targets=(given.target,), group=given.series)
    keeping.write_about(given.model, problem, time=given.time, metrics=metrics)


def _next(made: forecaster.Forecaster) -> DataFrame:
    """Return the moments that follow, as the model is asked for them."""
    import pandas

    settings = made.settings
    parts = []
    for name in made.histories:
        moments = made.forecast(name, settings.horizon).index
        part = pandas.DataFrame({settings.time: moments.astype(str)})
        parts.append(part.assign(**{settings.series: name}) if settings.series else part)
    return pandas.concat(parts, ignore_index=True)


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--time", required=True)
    parser.add_argument("--series", default="")
    parser.add_argument("--horizon", type=int, default=1)
    parser.add_argument("--season", type=int, default=1, help="after how many moments things repeat")
    parser.add_argument("--way", default="lags")
    parser.add_argument("--trees", type=int, default=200)
    door.start(main, parser)
