"""What models are measured by, under the original's names: more is better for some, less for others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr
from sklearn import metrics as measured

Numbers = Any  # arrays of numpy

LESS_IS_BETTER = (
    "log_loss", "normalized_root_mean_squared_error", "root_mean_squared_error", "normalized_mean_absolute_error",
    "mean_absolute_error", "median_absolute_error", "mean_absolute_percentage_error",
)  # fmt: skip
_EPSILON = 1e-15
MANY = 50  # classes, from which they are measured all at once


def is_maximized(metric: str) -> bool:
    """Whether more of a metric is better."""
    return metric not in LESS_IS_BETTER


def of_classes(truth: Numbers, chances: Numbers, weights: Numbers | None = None) -> dict[str, float]:
    """Return all metrics of predicted chances; `truth` are places of classes, `chances` a row each."""
    classes = chances.shape[1]
    guessed = chances.argmax(axis=1)
    recall = measured.recall_score(
        truth, guessed, average="macro", labels=np.unique(truth), zero_division=0, sample_weight=weights
    )
    luck = 1 / classes
    return {
        "accuracy": float(measured.accuracy_score(truth, guessed, sample_weight=weights)),
        "auc_weighted": _auc(truth, chances, weights),
        "average_precision_score_weighted": _average_precision(truth, chances, weights),
        "norm_macro_recall": float((recall - luck) / (1 - luck)) if classes > 1 else float(recall),
        "precision_score_weighted": _weighted(measured.precision_score, truth, guessed, weights),
        "recall_score_macro": float(recall),
        "f1_score_macro": float(
            measured.f1_score(truth, guessed, average="macro", zero_division=0, sample_weight=weights)
        ),
        "matthews_correlation": float(measured.matthews_corrcoef(truth, guessed, sample_weight=weights)),
        "log_loss": _log_loss(truth, chances, weights),
    }


def of_numbers(
    truth: Numbers, guessed: Numbers, weights: Numbers | None = None, *, span: float | None = None
) -> dict[str, float]:
    """Return all metrics of predicted numbers; what is normalized is divided by the span of the target."""
    span = float(span if span is not None else np.ptp(truth)) or 1.0
    squared = float(np.sqrt(measured.mean_squared_error(truth, guessed, sample_weight=weights)))
    absolute = float(measured.mean_absolute_error(truth, guessed, sample_weight=weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a constant forecast no rank is known
        ranked = float(spearmanr(truth, guessed).statistic) if len(truth) > 1 else 0.0
    return {
        "normalized_root_mean_squared_error": squared / span,
        "root_mean_squared_error": squared,
        "normalized_mean_absolute_error": absolute / span,
        "mean_absolute_error": absolute,
        "median_absolute_error": float(measured.median_absolute_error(truth, guessed)),
        "mean_absolute_percentage_error": _percentage(truth, guessed),
        "r2_score": float(measured.r2_score(truth, guessed, sample_weight=weights)) if len(truth) > 1 else 0.0,
        "spearman_correlation": 0.0 if np.isnan(ranked) else ranked,
    }


def of_labels(truth: Numbers, chances: Numbers) -> dict[str, float]:
    """Return the metrics of several labels a row: `truth` has a column of 0 and 1 for each."""
    guessed = chances >= 0.5
    return {
        "accuracy": float((guessed == truth.astype(bool)).all(axis=1).mean()),
        "f1_score_micro": float(measured.f1_score(truth, guessed, average="micro", zero_division=0)),
        "f1_score_macro": float(measured.f1_score(truth, guessed, average="macro", zero_division=0)),
        "iou": float(measured.jaccard_score(truth, guessed, average="samples", zero_division=1)),
    }


def one(metric: str, truth: Numbers, predicted: Numbers, weights: Numbers | None, *, span: float) -> float:
    """Return one metric, quickly: ensembles ask for thousands."""
    if truth.ndim == 2:
        return of_labels(truth, predicted)[metric]
    if predicted.ndim == 2:
        if metric == "auc_weighted":
            return _auc(truth, predicted, weights)
        if metric == "accuracy":
            hit = predicted.argmax(axis=1) == truth
            return float(np.average(hit, weights=weights))
        return of_classes(truth, predicted, weights)[metric]
    if metric == "normalized_root_mean_squared_error":
        return float(np.sqrt(np.average((truth - predicted) ** 2, weights=weights))) / span
    if metric == "normalized_mean_absolute_error":
        return float(np.average(np.abs(truth - predicted), weights=weights)) / span
    return of_numbers(truth, predicted, weights, span=span)[metric]


def mean_over(
    metric: str, truth: Numbers, predicted: Numbers, parts: list[Numbers], *, weights: Numbers | None, span: float
) -> float:
    """Return the mean of a metric over the parts of cross-validation."""
    values = [
        one(metric, truth[part], predicted[part], None if weights is None else weights[part], span=span)
        for part in parts
    ]
    return float(np.mean(values))


def _auc(truth: Numbers, chances: Numbers, weights: Numbers | None) -> float:
    """Each class against the rest, weighted by how often it is; classes that are absent, or all there is, count not."""
    if chances.shape[1] == 2:
        if len(np.unique(truth)) < 2:
            return 0.5
        return float(measured.roc_auc_score(truth, chances[:, 1], sample_weight=weights))
    return _over_classes(measured.roc_auc_score, truth, chances, weights, otherwise=0.5)


def _average_precision(truth: Numbers, chances: Numbers, weights: Numbers | None) -> float:
    return _over_classes(measured.average_precision_score, truth, chances, weights, otherwise=0.0)


def _over_classes(score: Any, truth: Numbers, chances: Numbers, weights: Numbers | None, *, otherwise: float) -> float:
    if weights is None and chances.shape[1] > MANY:
        return _over_many(truth, chances, ranked=score is measured.roc_auc_score)
    total, found = 0.0, 0.0
    for place in range(chances.shape[1]):
        is_it = truth == place
        if not is_it.any() or is_it.all():
            continue
        share = float(is_it.sum() if weights is None else weights[is_it].sum())
        found += share * float(score(is_it, chances[:, place], sample_weight=weights))
        total += share
    return found / total if total else otherwise


def _over_many(truth: Numbers, chances: Numbers, *, ranked: bool) -> float:
    """Return the same of many classes at once: area under the curve by ranks, or average precision."""
    is_it = truth[:, None] == np.arange(chances.shape[1])
    count = is_it.sum(axis=0)
    there = (count > 0) & (count < len(truth))
    is_it, shown, count = is_it[:, there], chances[:, there], count[there]
    if ranked:
        sums = (rankdata(shown, axis=0) * is_it).sum(axis=0)
        scores = (sums - count * (count + 1) / 2) / (count * (len(truth) - count))
    else:
        hits = np.take_along_axis(is_it, np.argsort(-shown, axis=0, kind="stable"), axis=0)
        precise = hits.cumsum(axis=0) / np.arange(1, len(truth) + 1)[:, None]
        scores = (precise * hits).sum(axis=0) / count
    return float(np.average(scores, weights=count))


def _log_loss(truth: Numbers, chances: Numbers, weights: Numbers | None) -> float:
    sure = np.clip(chances[np.arange(len(truth)), truth], _EPSILON, 1.0)
    return float(np.average(-np.log(sure), weights=weights))


def _weighted(score: Any, truth: Numbers, guessed: Numbers, weights: Numbers | None) -> float:
    return float(score(truth, guessed, average="weighted", zero_division=0, sample_weight=weights))


def _percentage(truth: Numbers, guessed: Numbers) -> float:
    """Return the mean error in percent where the truth is not 0."""
    there = truth != 0
    return float(np.mean(np.abs((truth[there] - guessed[there]) / truth[there])) * 100) if there.any() else 0.0
