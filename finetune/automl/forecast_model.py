"""The forecaster that a search leaves: series, members without code, and what comes next when rows ask.

Rows with a target go on where the series ended, rows without one are forecast: as Azure ML's `forecast` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io

from finetune.automl.algorithms import ALGORITHMS
from finetune.automl.boosters import BOOSTERS
from finetune.automl.forecasters import FORECASTERS
from finetune.automl.lagged import needed, rows_at
from finetune.automl.model import CONTRACT, TYPES, checked
from finetune.automl.series import Frame, Line, key_of, known_of, moments_of
from finetune.automl.wanted import Horizon
from workspace.errors import Invalid

Numbers = Any
FORMAT = 1
MODULE = "finetune.automl.forecast_model"
SERIES = "series.parquet"
_MOST_KEPT = 4000  # values of a series


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One member: of one series' own values, or a regressor on lags."""

    algorithm: str
    weight: float
    difference: str
    file: str
    params: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    scaling: Any = None


def keep(
    folder: Path, frame: Frame, lines: Sequence[Line], members: Sequence[Settled], *, metric: str, score: float
) -> None:
    """Write what a forecaster knows into its folder."""
    told = {"format": FORMAT, "task": "forecasting", "metric": metric, "score": score,
            "frame": asdict(frame), "members": [asdict(each) for each in members]}  # fmt: skip
    (folder / CONTRACT).write_text(json.dumps(told, indent=1) + "\n")
    kept = []
    for line in lines:
        last = slice(-max(_MOST_KEPT, 2 * needed(frame)), None)
        columns = {f"known {place}": line.known[last, place] for place in range(line.known.shape[1])}
        kept.append(
            pd.DataFrame({"key": line.key, "moment": line.moments[last], "value": line.values[last], **columns})
        )
    pd.concat(kept, ignore_index=True).to_parquet(folder / SERIES)


class ForecastModel:
    """A forecaster, loaded."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / CONTRACT).read_text())
        self.frame = _frame(told["frame"])
        self.metric, self.score = str(told["metric"]), float(told["score"])
        self.members = [Settled(**each) for each in told["members"]]
        self._models = [_loaded(folder, each) if each.file else None for each in self.members]
        self.lines = _lines(pd.read_parquet(folder / SERIES))
        self._numbers = {key: number for number, key in enumerate(self.lines)}

    def predict(self, rows: Any, params: Mapping[str, Any] | None = None) -> Numbers:
        """Return a value for each row: its own where it has a target, else what is forecast."""
        del params
        horizon = self.frame.horizon
        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
        for name in (horizon.time, *horizon.series):
            if name not in frame.columns:
                raise Invalid(f"the rows have no column {name!r}")
        frame = frame.reset_index(drop=True)
        moments = moments_of(frame[horizon.time], horizon.time)
        keys = key_of(frame, horizon)
        given = frame[self.frame.target] if self.frame.target in frame else pd.Series(np.nan, index=frame.index)
        given = pd.to_numeric(given, errors="coerce")
        known = known_of(frame, self.frame)
        found = given.to_numpy(dtype=float).copy()
        for key in keys.unique():
            places = np.flatnonzero((keys == key).to_numpy())
            asked = places[given.iloc[places].isna().to_numpy()]
            if len(asked):
                line = self._line(str(key), moments, given, known, places)
                found[asked] = self._forecast(line, str(key), moments.iloc[asked], known[asked])
        return found

    def _line(self, key: str, moments: Any, given: Any, known: Numbers, places: Numbers) -> Line:
        """Return a series as it is known, with the rows that go on with it."""
        line = self.lines.get(key)
        if line is None:
            hint = f"known: {', '.join(list(self.lines)[:10])}"
            raise Invalid(f"the model has learned no series {key!r}", hint=hint)
        told = [place for place in places if not np.isnan(given.iloc[place]) and moments.iloc[place] > line.moments[-1]]
        if not told:
            return line
        more = pd.DataFrame(known[told], index=pd.DatetimeIndex(moments.iloc[told])).assign(
            value=given.iloc[told].to_numpy()
        )
        whole = pd.date_range(line.moments[-1], more.index.max(), freq=self.frame.frequency)[1:]
        more = more[~more.index.duplicated(keep="last")].reindex(whole)
        values = pd.Series(np.concatenate([line.values, more["value"].to_numpy()])).interpolate().to_numpy()
        beside = np.vstack([line.known, more.drop(columns="value").ffill().bfill().to_numpy()])
        return Line(key, line.moments.append(whole), values, beside)

    def _forecast(self, line: Line, key: str, asked: Any, known: Numbers) -> Numbers:
        frame = self.frame
        ahead = pd.date_range(line.moments[-1], periods=frame.steps + 1, freq=frame.frequency)[1:]
        place = {moment: number for number, moment in enumerate(ahead)}
        absent = [moment for moment in asked if moment not in place]
        if absent:
            hint = "give the rows between, with their target, or ask for steps within the horizon"
            what = f"{absent[0]} is none of the {frame.steps} steps after {line.moments[-1]}"
            raise Invalid(f"{what}, where {key or 'the series'} ends", hint=hint)
        beside = np.full((frame.steps, line.known.shape[1]), np.nan)
        beside[[place[moment] for moment in asked]] = known
        beside = pd.DataFrame(beside).ffill().bfill().fillna(0).to_numpy()
        whole = replace(
            line, moments=line.moments.append(ahead), known=np.vstack([line.known, beside]),
            values=np.concatenate([line.values, np.full(frame.steps, np.nan)]),
        )  # fmt: skip
        said = sum(
            member.weight * self._say(member, model, line, whole)
            for member, model in zip(self.members, self._models, strict=True)
        )
        return np.asarray(said)[[place[moment] for moment in asked]]

    def _say(self, member: Settled, model: Any, line: Line, whole: Line) -> Numbers:
        if model is None:
            return FORECASTERS[member.algorithm](line.values, self.frame.steps, self.frame.season)
        number = self._numbers[line.key]
        rows = rows_at(line, self.frame, np.array([len(line) - 1]), number=number, ahead=whole)
        matrix = rows.matrix
        if member.scaling is not None:
            mean, spread = (np.asarray(each) for each in member.scaling)
            matrix = np.nan_to_num((matrix - mean) / spread)
        return np.asarray(model.predict(matrix), dtype=float).ravel() + rows.bases[member.difference]


def _load_pyfunc(path: str) -> ForecastModel:
    """Load the model: what MLflow calls."""
    return ForecastModel(Path(path))


def save_mlflow(folder: Path, target: Path, *, example: Any, metadata: Any) -> None:
    """Keep a forecaster's folder as a model of MLflow."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from finetune.automl.model import packages

    model = ForecastModel(folder)
    horizon = model.frame.horizon
    words = [ColSpec("string", name) for name in horizon.series]
    beside = [
        ColSpec("string" if name in model.frame.levels else "double", name, required=False)
        for name in model.frame.known
    ]
    takes = [ColSpec("datetime", horizon.time), *words, *beside, ColSpec("double", model.frame.target, required=False)]
    signature = ModelSignature(inputs=Schema(takes), outputs=Schema([ColSpec("double", "forecast")]))
    files = [member.file for member in model.members]
    mlflow.pyfunc.save_model(
        path=str(target), loader_module=MODULE, data_path=str(folder), signature=signature, input_example=example,
        pip_requirements=packages(files, "statsmodels", "pyarrow"), metadata=metadata,
    )  # fmt: skip


def _frame(told: Mapping[str, Any]) -> Frame:
    horizon = {**told["horizon"]}
    for name in ("series", "lags", "unknown"):
        horizon[name] = tuple(horizon[name])
    return Frame(
        **{**told, "horizon": Horizon(**horizon), "seasons": tuple(told["seasons"]), "known": tuple(told["known"])}
    )


def _lines(table: Any) -> dict[str, Line]:
    found = {}
    for key, part in table.groupby("key", sort=True):
        names = [name for name in part.columns if name.startswith("known ")]
        found[str(key)] = Line(
            str(key), pd.DatetimeIndex(part["moment"]), part["value"].to_numpy(), part[names].to_numpy(dtype=float)
        )
    return found


def _loaded(folder: Path, member: Settled) -> Any:
    algorithm = ALGORITHMS[member.algorithm]
    if not algorithm.boosts:
        return checked(skops.io.load(folder / member.file, trusted=TYPES))
    booster: Any = BOOSTERS[algorithm.boosts]({}, 0, 1)
    booster.load(folder / member.file)
    booster.rounds = member.rounds if algorithm.boosts == "xgboost" else 0
    return booster
