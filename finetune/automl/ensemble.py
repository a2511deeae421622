"""Ensembles of trials: those that vote, chosen greedily on the held rows, and those under a meta learner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.model_selection import KFold

from finetune.automl import metrics
from finetune.automl.boosters import Given, Lightgbm
from finetune.automl.rows import Rows
from finetune.automl.trial import Outcome

Numbers = Any
MOST_MEMBERS, MOST_STEPS, LOOKED_AT = 6, 30, 25
STACKED = 6  # trials under a meta learner
_LEAST_GAIN = 1e-5
_SAMPLE = 20_000  # held rows that members are chosen by
_EDGE = 1e-6
_LABELS = 30  # more classes are not stacked: the meta learner would have a column for each of each

CLASSIFIERS = ("logistic_regression", "logistic_regression_cv", "light_gbm_classifier")
REGRESSORS = ("elastic_net", "elastic_net_cv", "light_gbm_regressor", "linear_regression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """Trials and how much each one's word weighs."""

    weights: dict[int, float]
    score: float
    predicted: Numbers


@dataclass(slots=True, kw_only=True)
class Stack:
    """Trials under a meta learner, which `fit` makes of all held rows."""

    members: list[int]
    kind: str
    score: float
    predicted: Numbers
    params: dict[str, Any] = field(default_factory=dict)


def vote(rows: Rows, trials: Sequence[Outcome], predicted: dict[int, Numbers]) -> Voting:
    """Return the best weights: again and again the trial is added that helps most, as Caruana and others have it."""
    best = _best(trials, rows.wanted.metric)[:LOOKED_AT]
    parts = _sampled(rows)
    sign = 1.0 if metrics.is_maximized(rows.wanted.metric) else -1.0

    def goodness(values: Numbers) -> float:
        return sign * metrics.mean_over(
            rows.wanted.metric, rows.target, values, parts, weights=rows.weights, span=rows.span
        )

    counts = {best[0].number: 1}
    total = predicted[best[0].number].copy()
    reached = goodness(total)
    for _ in range(MOST_STEPS):
        said = sum(counts.values())
        pool = [each.number for each in best if len(counts) < MOST_MEMBERS or each.number in counts]
        gains = {number: goodness((total + predicted[number]) / (said + 1)) for number in pool}
        chosen = max(gains, key=lambda number: gains[number])
        if gains[chosen] < reached + _LEAST_GAIN * abs(reached):
            break
        counts[chosen] = counts.get(chosen, 0) + 1
        total += predicted[chosen]
        reached = gains[chosen]
    said = sum(counts.values())
    mean = total / said
    score = metrics.mean_over(rows.wanted.metric, rows.target, mean, rows.held, weights=rows.weights, span=rows.span)
    return Voting(weights={number: count / said for number, count in counts.items()}, score=score, predicted=mean)


def stack(rows: Rows, trials: Sequence[Outcome], predicted: dict[int, Numbers]) -> Stack | None:
    """Return a stack that is held against rows its meta learner has not seen; None where it cannot be made."""
    if rows.several or len(rows.classes) > _LABELS or len(trials) < 2:
        return None
    members = [each.number for each in _diverse(_best(trials, rows.wanted.metric))][:STACKED]
    kind = rows.wanted.meta or ("logistic_regression" if rows.classes else "elastic_net_cv")
    if kind not in (CLASSIFIERS if rows.classes else REGRESSORS):
        kind = CLASSIFIERS[0] if rows.classes else REGRESSORS[1]
    matrix = below(predicted, members, classes=len(rows.classes))
    found = np.full_like(predicted[members[0]], np.nan)
    held = np.unique(np.concatenate(rows.held))
    for train, valid in _parts(rows, held):
        meta = fit_meta(rows, kind, matrix[train], train)
        found[valid] = predict_meta(meta, matrix[valid], classes=len(rows.classes))
    score = metrics.mean_over(rows.wanted.metric, rows.target, found, rows.held, weights=rows.weights, span=rows.span)
    return Stack(members=members, kind=kind, score=score, predicted=found, params=dict(rows.wanted.meta_parameters))


def fit_meta(rows: Rows, kind: str, matrix: Numbers, places: Numbers) -> Any:
    """Return a meta learner fitted on what the members say of rows."""
    target, weights = rows.target[places], None if rows.weights is None else rows.weights[places]
    if kind.startswith("light_gbm"):
        meta = Lightgbm({"learning_rate": 0.05, "num_leaves": 4, "min_data_in_leaf": 30}, len(rows.classes), 1)
        data = Given(matrix=matrix, target=target, weights=weights)
        meta.fit(data, None, codes=[], until=float("inf"), rounds=60)
        return meta
    made: dict[str, Any] = {
        "logistic_regression": lambda: linear_model.LogisticRegression(C=0.1, max_iter=500),
        "logistic_regression_cv": lambda: linear_model.LogisticRegressionCV(
            Cs=6, max_iter=500, l1_ratios=(0.0,), use_legacy_attributes=True
        ),
        "elastic_net": lambda: linear_model.ElasticNet(alpha=0.001, positive=True),
        "elastic_net_cv": lambda: linear_model.ElasticNetCV(positive=True, l1_ratio=0.5, max_iter=5000),
        "linear_regression": lambda: linear_model.LinearRegression(positive=True),
    }
    meta = made[kind]()
    known = meta.get_params()
    given = {name: _value(value) for name, value in rows.wanted.meta_parameters.items() if name in known}
    meta.set_params(**given)
    can_weigh = weights is not None and kind != "elastic_net_cv"
    return meta.fit(matrix, target, **({"sample_weight": weights} if can_weigh else {}))


def predict_meta(meta: Any, matrix: Numbers, *, classes: int) -> Numbers:
    """Return what a meta learner makes of what the members say."""
    if isinstance(meta, Lightgbm):
        return meta.predict(matrix)
    if not classes:
        return np.asarray(meta.predict(matrix), dtype=float)
    found = np.asarray(meta.predict_proba(matrix))
    if found.shape[1] == classes:
        return found
    wide = np.zeros((len(found), classes))
    wide[:, meta.classes_] = found
    return wide


def below(predicted: dict[int, Numbers], members: Sequence[int], *, classes: int) -> Numbers:
    """Return what members say as the columns of a meta learner: logits of all classes but the first, or numbers."""
    if not classes:
        return np.column_stack([predicted[number] for number in members])
    columns = []
    for number in members:
        chances = np.clip(predicted[number][:, 1:] if classes == 2 else predicted[number], _EDGE, 1 - _EDGE)
        columns.append(np.log(chances / (1 - chances)))
    return np.hstack(columns)


def _parts(rows: Rows, held: Numbers) -> list[tuple[Numbers, Numbers]]:
    if len(rows.parts) > 1:
        return [(np.setdiff1d(held, valid), valid) for valid in rows.held]
    return [(held[train], held[valid]) for train, valid in KFold(5, shuffle=True, random_state=0).split(held)]


def _sampled(rows: Rows) -> list[Numbers]:
    """Return some of the held rows of each part: choosing asks hundreds of times."""
    luck = np.random.default_rng(0)
    most = max(1, _SAMPLE // len(rows.held))
    return [part if len(part) <= most else luck.choice(part, most, replace=False) for part in rows.held]


def _best(trials: Sequence[Outcome], metric: str) -> list[Outcome]:
    sign = -1.0 if metrics.is_maximized(metric) else 1.0
    scored = [each for each in trials if each.score is not None]
    return sorted(scored, key=lambda each: (sign * (each.score or 0.0), each.number))


def _diverse(best: Sequence[Outcome]) -> list[Outcome]:
    """Return the best of each algorithm first, then all others."""
    seen: set[str] = set()
    leaders = []
    for each in best:
        if each.algorithm not in seen:
            seen.add(each.algorithm)
            leaders.append(each)
    return leaders + [each for each in best if each not in leaders]


def _value(text: Any) -> Any:
    """Return a parameter that a file says as text."""
    try:
        return float(text) if "." in str(text) or "e" in str(text).lower() else int(text)
    except ValueError:
        return text
