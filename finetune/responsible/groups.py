"""Metrics of each group with their intervals, and how far the groups lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SMALL = 30  # rows: smaller groups are shown, and compared with nobody
_BANDS = 4

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Intervals:
    """How sure numbers are: of a rate, by how many of how many; of a mean, by its values."""

    rate: Callable[[int, int], Interval]
    mean: Callable[[Sequence[float]], Interval]


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of a group, the bounds of its interval, and how many rows it was counted on."""

    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a value of a sensitive column."""

    name: str
    rows: int
    is_small: bool
    metrics: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Disparity:
    """How far the best and the worst group lie apart; the interval is that of the difference."""

    metric: str
    difference: float
    low: float
    high: float
    ratio: float
    least: str
    most: str


@dataclass(frozen=True, slots=True)
class Sensitive:
    """A sensitive column: its groups, and their disparities."""

    column: str
    groups: tuple[Group, ...]
    disparities: tuple[Disparity, ...]

    def disparity(self, metric: str) -> Disparity | None:
        """Return the disparity of a metric, None where no two groups can be compared by it."""
        return next((each for each in self.disparities if each.metric == metric), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is true of each row and what the model said; `positive` is the class that is wished for, if there is one."""

    task: str
    true: Series
    said: Series
    positive: Any = None


def measure(answers: Answers, sensitive: DataFrame, intervals: Intervals) -> tuple[Sensitive, ...]:
    """Return each sensitive column, and all of them together where there are several."""
    columns = {str(name): banded(sensitive[name]) for name in sensitive.columns}
    if len(columns) > 1:
        first, *others = columns.values()
        columns[" and ".join(columns)] = first.str.cat(others, sep=" and ")
    return tuple(_column(name, values, answers, intervals) for name, values in columns.items())


def banded(values: Series) -> Series:
    """Return a column as names of groups: numbers with many values in four bands."""
    import pandas
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(values) and values.dtype != bool and values.nunique() > 10:
        bands = pandas.qcut(values, _BANDS, duplicates="drop")
        ends = values.groupby(bands, observed=True).agg(["min", "max"])
        names = {band: f"{ends['min'][band]:g} to {ends['max'][band]:g}" for band in ends.index}
        return bands.map(names).astype(object).fillna("missing").astype(str)
    whole = is_numeric_dtype(values) and values.dropna().mod(1).eq(0).all()
    plain = values.map(lambda value: f"{value:g}") if whole and values.dtype != bool else values.astype(str)
    return plain.where(values.notna(), "missing").astype(str)


def _column(name: str, values: Series, answers: Answers, intervals: Intervals) -> Sensitive:
    counted = _counted(answers)
    groups = []
    for group in sorted(values.unique()):
        inside = (values == group).to_numpy()
        metrics = {metric: _measured(hits[inside], of[inside], intervals, answers.task)
                   for metric, (hits, of) in counted.items()}  # fmt: skip
        groups.append(Group(group, int(inside.sum()), int(inside.sum()) < SMALL, metrics))
    return Sensitive(name, tuple(groups), tuple(_disparities(groups, values, answers)))


def _counted(answers: Answers) -> Mapping[str, tuple[Any, Any]]:
    """Return of each metric what is counted, and on which rows."""
    import numpy

    every = numpy.ones(len(answers.true), dtype=bool)
    if answers.task == "regression":
        off = (answers.said - answers.true).to_numpy(dtype=float)
        return {"mean_absolute_error": (numpy.abs(off), every), "mean_error": (off, every)}
    right = (answers.said == answers.true).to_numpy()
    found = {"accuracy": (right, every)}
    if answers.positive is not None:
        said, true = (answers.said == answers.positive).to_numpy(), (answers.true == answers.positive).to_numpy()
        found |= {"selection_rate": (said, every), "true_positive_rate": (said, true),
                  "false_positive_rate": (said, ~true), "precision": (true, said)}  # fmt: skip
    return found


def _measured(hits: Any, of: Any, intervals: Intervals, task: str) -> Measured:
    counted = hits[of]
    if not len(counted):
        return Measured(math.nan, math.nan, math.nan, 0)
    if task == "regression":
        low, high = intervals.mean(counted)
    else:
        low, high = intervals.rate(int(counted.sum()), len(counted))
    return Measured(float(counted.mean()), low, high, len(counted))


def _disparities(groups: Sequence[Group], values: Series, answers: Answers) -> list[Disparity]:
    """Compare the groups that are large enough, by fairlearn's frame of metrics."""
    from fairlearn.metrics import MetricFrame

    large = {each.name: each for each in groups if not each.is_small}
    if len(large) < 2:
        return []
    inside = values.isin([*large]).to_numpy()
    frame = MetricFrame(
        metrics=_metrics(answers), y_true=answers.true[inside], y_pred=answers.said[inside],
        sensitive_features=values[inside].to_numpy(),
    )  # fmt: skip
    found = []
    differences, ratios = frame.difference(), frame.ratio()
    for metric in frame.by_group.columns:
        column = frame.by_group[metric].astype(float).dropna()
        sizes = [name for name in column.index if large[name].metrics[metric].rows >= SMALL]
        if len(sizes) < 2:
            continue
        column = column[sizes]
        least, most = str(column.idxmin()), str(column.idxmax())
        whole = len(sizes) == len(frame.by_group)
        difference = float(differences[metric]) if whole else float(column.max() - column.min())
        ratio = float(ratios[metric]) if whole else float(column.min() / column.max()) if column.max() else math.nan
        low, high = _apart(large[most].metrics[metric], large[least].metrics[metric])
        found.append(Disparity(metric, difference, low, high, ratio, least, most))
    return found


def _metrics(answers: Answers) -> dict[str, Callable[[Any, Any], float]]:
    import numpy

    positive = answers.positive

    def share(hits: Any, of: Any) -> float:
        return float(numpy.asarray(hits)[numpy.asarray(of)].mean()) if numpy.asarray(of).any() else math.nan

    if answers.task == "regression":
        return {
            "mean_absolute_error": lambda true, said: float(numpy.abs(said - true).mean()),
            "mean_error": lambda true, said: float((said - true).mean()),
        }
    found: dict[str, Callable[[Any, Any], float]] = {"accuracy": lambda true, said: float((true == said).mean())}
    if positive is not None:
        found |= {
            "selection_rate": lambda _, said: float((said == positive).mean()),
            "true_positive_rate": lambda true, said: share(said == positive, true == positive),
            "false_positive_rate": lambda true, said: share(said == positive, true != positive),
            "precision": lambda true, said: share(true == positive, said == positive),
        }
    return found


def _apart(most: Measured, least: Measured) -> Interval:
    """Return the interval of a difference from those of both sides (square and add, after Newcombe)."""
    difference = most.value - least.value
    down = math.hypot(most.value - most.low, least.high - least.value)
    up = math.hypot(most.high - most.value, least.value - least.low)
    return difference - down, difference + up
