"""How a model did, as one page: metrics, confusions, curves, and how far numbers are off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetune.tabular import drawing
from finetune.tabular.asking import CHANCE, PREDICTION
from finetune.tabular.problems import Problem

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST = 20  # classes that a matrix shows
_DOTS = 1500
_BINS = 10


def page(problem: Problem, rows: DataFrame, metrics: Mapping[str, float]) -> str:
    """Return the page of scored rows."""
    target = ", ".join(problem.targets)
    parts = [
        f"<h1>How well {drawing.text(target)} is predicted</h1>",
        f'<p class="muted">{problem.task}, {len(rows):,} rows</p>',
        drawing.facts(list(metrics.items())[:5]),
        drawing.table(("metric", "value"), list(metrics.items())),
    ]
    if problem.task == "classification":
        parts += _classes(rows, problem.target)
    elif problem.task in ("regression", "forecasting"):
        parts += _numbers(rows, problem.target)
    return drawing.page(f"{target}: {problem.task}", parts)


def _classes(rows: DataFrame, target: str) -> list[str]:
    from sklearn import metrics

    rows = rows[rows[target].notna()]
    true, said = rows[target].astype(str), rows[PREDICTION].astype(str)
    names = [*true.value_counts().index[:_MOST]]
    names = sorted({*names, *said[said.isin(names)]})
    counts = metrics.confusion_matrix(true, said, labels=names).tolist()
    more = f'<p class="muted">The {_MOST} most frequent classes.</p>' if true.nunique() > _MOST else ""
    parts = [
        "<h2>Confusions</h2><p>Down: what is true. Across: what was said.</p>",
        more,
        drawing.matrix(names, counts),
    ]
    chances = sorted(name for name in rows.columns if name.startswith(CHANCE))
    if len(chances) != 2 or true.nunique() != 2:
        return parts
    positive = chances[-1].removeprefix(CHANCE)
    hit, chance = (true == positive).to_numpy(), rows[chances[-1]].to_numpy()
    false, right, _ = metrics.roc_curve(hit, chance)
    precision, recall, _ = metrics.precision_recall_curve(hit, chance)
    return [
        *parts,
        '<div class="columns">',
        _section("Found against false alarms", _curve(false, right, ("false alarms", "found"), diagonal=True)),
        _section("Right against found", _curve(recall, precision, ("found", "right of those said"))),
        _section("Are chances true?", _calibration(hit, chance)),
        "</div>",
    ]


def _curve(x: Any, y: Any, names: tuple[str, str], *, diagonal: bool = False) -> str:
    step = max(1, len(x) // 200)
    points = [*zip(x[::step].tolist(), y[::step].tolist(), strict=True), (float(x[-1]), float(y[-1]))]
    return drawing.lines([points], names=names, diagonal=diagonal)


def _calibration(hit: Any, chance: Any) -> str:
    points = []
    for place in range(_BINS):
        inside = (chance >= place / _BINS) & ((chance < (place + 1) / _BINS) | (place == _BINS - 1))
        if inside.any():
            points.append((float(chance[inside].mean()), float(hit[inside].mean())))
    return drawing.lines([points], names=("chance that was said", "share that came true"), diagonal=True)


def _numbers(rows: DataFrame, target: str) -> list[str]:
    rows = rows[rows[target].notna()]
    shown = rows if len(rows) <= _DOTS else rows.sample(_DOTS, random_state=0)
    pairs = list(zip(shown[target].astype(float), shown[PREDICTION].astype(float), strict=True))
    off = [(said, true - said) for true, said in pairs]
    return [
        '<div class="columns">',
        _section("Said against true", drawing.lines([pairs], names=("true", "said"), diagonal=True, dots=True)),
        _section("How far it is off", drawing.lines([off], names=("said", "true less said"), dots=True)),
        "</div>",
    ]


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"
