"""Forecasts of series: LightGBM over lags, or exponential smoothing; kept as JSON and LightGBM's text.

The module is also the loader of the MLflow model: asked for moments after its history, it says the value at each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.tabular import tables
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame, DatetimeIndex, Series

Way = Literal["lags", "smoothing", "seasonal"]
WAYS: tuple[Way, ...] = ("lags", "smoothing", "seasonal")
ONE = ""  # the name of the only series
_ABOUT, _TREES = "forecaster.json", "trees.txt"
_MOST_HISTORY = 2000  # moments that are kept of each series


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is forecast: a value over time, of each series, so many moments ahead.

    `season` is after how many moments things repeat: 24 for hours of a day, 7 for days of a week.
    """

    target: str
    time: str
    series: str = ""
    horizon: int = 1
    season: int = 1
    way: Way = "lags"
    trees: int = 200
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise Invalid(f"no way of forecasting {self.way!r}", hint=f"known: {', '.join(WAYS)}")
        if self.horizon < 1 or self.season < 1:
            raise Invalid("horizon and season are at least 1")

    @property
    def lags(self) -> tuple[int, ...]:
        """How far back the trees look."""
        near = range(1, 1 + min(7, max(3, self.season)))
        seasonal = (self.season, self.season + 1, 2 * self.season) if self.season > 1 else ()
        return tuple(sorted({*near, *seasonal}))


class Forecaster:
    """Histories of series, and what was learnt of them."""

    def __init__(
        self, settings: Settings, histories: Mapping[str, Series], *, step: str, trees: Any = None,
        smoothing: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.histories, self.step = settings, histories, step
        self._trees, self._smoothing = trees, smoothing or {}

    def predict(self, rows: DataFrame, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's signature
        """Return the value at each moment, which lies after the history of its series."""
        import numpy
        import pandas

        moments = pandas.to_datetime(rows[self.settings.time])
        names = rows[self.settings.series].astype(str) if self.settings.series else pandas.Series(ONE, rows.index)
        found = numpy.empty(len(rows))
        for name in names.unique():
            inside = (names == name).to_numpy()
            found[inside] = self._of_series(name, moments[inside])
        return found

    def forecast(self, name: str, steps: int) -> Series:
        """Return the next values of a series."""
        if self.settings.way == "lags":
            return self._by_lags(name, steps)
        if self.settings.way == "smoothing":
            return self._by_smoothing(name, steps)
        history, season = self.histories[name], self.settings.season
        last = history.to_numpy()[-season:]
        import numpy
        import pandas

        return pandas.Series(numpy.resize(last, steps), self._moments(name, steps))

    def save(self, folder: Path) -> None:
        """Write settings and histories as JSON, trees as LightGBM's text."""
        folder.mkdir(parents=True, exist_ok=True)
        histories = {
            name: {"start": history.index[0].isoformat(), "values": [float(each) for each in history]}
            for name, history in self.histories.items()
        }
        told = {"settings": asdict(self.settings), "step": self.step, "histories": histories,
                "smoothing": self._smoothing}  # fmt: skip
        (folder / _ABOUT).write_text(json.dumps(told, allow_nan=False) + "\n")
        if self._trees is not None:
            self._trees.save_model(str(folder / _TREES))

    def _of_series(self, name: str, moments: Any) -> Any:
        if name not in self.histories:
            known = ", ".join([*self.histories][:5])
            raise ValueError(f"no history of series {name!r}; known: {known}")
        history = self.histories[name]
        first = history.index[-1]
        if (moments <= first).any():
            raise ValueError(f"{self.settings.time} must lie after {first}, where the history ends")
        index = self._moments(name, 1)
        steps = 1
        while index[-1] < moments.max():
            steps = max(steps * 2, self.settings.horizon)
            index = self._moments(name, steps)
        values = self.forecast(name, int(index.searchsorted(moments.max(), side="left")) + 1)
        missing = moments[~moments.isin(values.index)]
        if len(missing):
            raise ValueError(f"{missing.iloc[0]} is no moment of this series, whose step is {self.step}")
        return values.loc[moments].to_numpy()

    def _moments(self, name: str, steps: int) -> DatetimeIndex:
        import pandas

        return pandas.date_range(self.histories[name].index[-1], periods=steps + 1, freq=self.step)[1:]

    def _by_lags(self, name: str, steps: int) -> Series:
        import numpy
        import pandas

        index = self._moments(name, steps)
        values = [float(each) for each in self.histories[name]]
        level = _level(values)
        codes = {each: place for place, each in enumerate(self.histories)}
        for moment in index:
            row = [*(values[-lag] - level if lag <= len(values) else numpy.nan for lag in self.settings.lags),
                   *_calendar(moment), codes[name]]  # fmt: skip
            values.append(level + float(self._trees.predict(numpy.array([row]))[0]))
        return pandas.Series(values[-steps:], index)

    def _by_smoothing(self, name: str, steps: int) -> Series:
        import numpy
        import pandas

        model = _smoother(self.histories[name], self.settings.season)
        result = model.smooth(numpy.array([self._smoothing[name][each] for each in model.param_names]))
        return pandas.Series(numpy.asarray(result.forecast(steps)), self._moments(name, steps))


def fit(table: DataFrame, settings: Settings) -> Forecaster:
    """Learn from the history of each series; gaps are filled by what lies between."""
    histories, step = read_histories(table, settings)
    if settings.way == "lags":
        return Forecaster(settings, _last(histories), step=step, trees=_trees(histories, settings))
    if settings.way == "seasonal":
        return Forecaster(settings, _last(histories), step=step)
    smoothing = {}
    for name, history in _last(histories).items():
        model = _smoother(history, settings.season)
        result = model.fit(disp=False)
        smoothing[name] = dict(zip(model.param_names, map(float, result.params), strict=True))
    return Forecaster(settings, _last(histories), step=step, smoothing=smoothing)


def read_histories(table: DataFrame, settings: Settings) -> tuple[dict[str, Series], str]:
    """Return each series by its name, with a value at every moment, and the step between moments."""
    import pandas
    from pandas.tseries.frequencies import to_offset

    tables.has(table, [settings.time, settings.target, *filter(None, (settings.series,))])
    moments = pandas.to_datetime(table[settings.time], errors="coerce", format="mixed")
    if wrong := int(moments.isna().sum()):
        first = table[settings.time][moments.isna()].iloc[0]
        raise Invalid(
            f"{wrong:,} values of {settings.time!r} are no dates: {first!r}", hint="clean_rows drops such rows"
        )
    values = pandas.to_numeric(table[settings.target], errors="coerce").to_numpy(dtype=float)
    names = table[settings.series].astype(str) if settings.series else pandas.Series(ONE, table.index)
    whole = pandas.DataFrame({"name": names.to_numpy(), "at": moments.to_numpy(), "value": values})
    if len(twice := whole[whole.duplicated(["name", "at"])]):
        hint = "name the column that tells series apart: --series COLUMN" if not settings.series else "keep one of them"
        raise Invalid(f"{len(twice):,} moments come twice, {twice['at'].iloc[0]} among them", hint=hint)
    found, steps = {}, []
    for name, rows in whole.sort_values("at").groupby("name", sort=True):
        history = rows.set_index("at")["value"]
        steps.append(history.index.to_series().diff().mode())
        found[str(name)] = history
    every = pandas.concat(steps).dropna()
    if not len(every):
        raise Invalid("each series has a single moment: there is nothing to learn from", hint="is the series right?")
    step = to_offset(every.mode().iloc[0]).freqstr
    shortest = max(settings.lags) + 2 if settings.way == "lags" else 2 * settings.season + 1
    for name, history in found.items():
        guessed = to_offset(pandas.infer_freq(history.index)) if len(history) > 2 else None
        step = guessed.freqstr if guessed is not None else step
        full = history.asfreq(step).interpolate().bfill()
        if len(full) < shortest:
            told = f"series {name!r}" if name else "the series"
            hint = f"it takes {shortest} for a season of {settings.season}"
            raise Invalid(f"{told} has {len(full)} moments only", hint=hint)
        found[name] = full
    return found, step


def load(folder: Path) -> Forecaster:
    """Return the forecaster that was written into a folder."""
    import pandas

    told = json.loads((folder / _ABOUT).read_text())
    histories = {}
    for name, each in told["histories"].items():
        moments = pandas.date_range(each["start"], periods=len(each["values"]), freq=told["step"])
        histories[name] = pandas.Series(each["values"], moments)
    trees = None
    if (folder / _TREES).is_file():
        import lightgbm

        trees = lightgbm.Booster(model_file=str(folder / _TREES))
    return Forecaster(Settings(**told["settings"]), histories, step=told["step"], trees=trees,
                      smoothing=told["smoothing"])  # fmt: skip


def _load_pyfunc(path: str) -> Forecaster:
    return load(Path(path))


def _last(histories: Mapping[str, Series]) -> dict[str, Series]:
    return {name: history.iloc[-_MOST_HISTORY:] for name, history in histories.items()}


def _trees(histories: Mapping[str, Series], settings: Settings) -> Any:
    import lightgbm
    import numpy

    rows, targets = [], []
    for code, history in enumerate(histories.values()):
        values = history.to_numpy()
        level, most = _level([*values]), max(settings.lags)
        for place in range(min(most, len(values) // 2), len(values)):
            back = [values[place - lag] - level if lag <= place else numpy.nan for lag in settings.lags]
            rows.append([*back, *_calendar(history.index[place]), code])
            targets.append(values[place] - level)
    given = lightgbm.Dataset(numpy.array(rows, dtype=float), numpy.array(targets), params={"verbose": -1})
    usual = {"objective": "regression", "learning_rate": settings.learning_rate, "verbose": -1, "seed": 0,
             "min_data_in_leaf": max(2, min(20, len(rows) // 20)), "deterministic": True}  # fmt: skip
    return lightgbm.train(usual, given, settings.trees)


def _level(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))


def _calendar(moment: Any) -> list[int]:
    return [moment.hour, moment.weekday(), moment.day, moment.month]


def _smoother(history: Series, season: int) -> Any:
    import numpy
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    seasonal = {"seasonal": "add", "seasonal_periods": season} if season > 1 and len(history) >= 2 * season else {}
    return ETSModel(numpy.asarray(history, dtype=float), error="add", trend="add", damped_trend=True, **seasonal)
