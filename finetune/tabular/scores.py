"""How well a model of a table does: the usual metrics of each task, as numbers by name."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from finetune.tabular.problems import Problem

if TYPE_CHECKING:
    from pandas import DataFrame

TOP = 5


def measure(problem: Problem, rows: DataFrame, guessed: Any, probabilities: Any = None) -> dict[str, float]:
    """Return the metrics of a task: `measure(problem, rows, model.predict(rows))["accuracy"]`.

    Rows without a target count for nothing. `probabilities` has a column for each class, in their sorted order.
    """
    import numpy

    there = rows[list(problem.targets)].notna().all(axis=1).to_numpy()
    true = rows[list(problem.targets)].to_numpy()[there]
    said = numpy.asarray(guessed)[there]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are missing on one side
        if problem.task == "classification":
            chances = None if probabilities is None else numpy.asarray(probabilities)[there]
            return _classes(true[:, 0], said, chances)
        if problem.task == "multilabel":
            return _labels(true.astype(int), said)
        if problem.task == "ranking":
            return _ranking(rows[problem.group].to_numpy()[there], true[:, 0].astype(float), said)
        return numbers(true[:, 0].astype(float), said.astype(float))


def numbers(true: Any, said: Any) -> dict[str, float]:
    """Return the metrics of numbers."""
    import numpy
    from sklearn import metrics

    apart = numpy.abs(said - true)
    found = {
        "rmse": metrics.root_mean_squared_error(true, said),
        "mae": metrics.mean_absolute_error(true, said),
        "median_absolute_error": numpy.median(apart),
        "r2": metrics.r2_score(true, said) if len(true) > 1 else float("nan"),
    }
    if (true != 0).all():
        found["mape"] = float((apart / numpy.abs(true)).mean())
    return _plain(found)


def _classes(true: Any, said: Any, chances: Any) -> dict[str, float]:
    import numpy
    from sklearn import metrics

    true, said = true.astype(str), numpy.asarray(said).astype(str)
    found = {
        "accuracy": metrics.accuracy_score(true, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, said),
        "f1_macro": metrics.f1_score(true, said, average="macro"),
        "precision_macro": metrics.precision_score(true, said, average="macro"),
        "recall_macro": metrics.recall_score(true, said, average="macro"),
        "mcc": metrics.matthews_corrcoef(true, said),
    }
    if chances is not None and len(set(true)) > 1:
        if chances.shape[1] == 2:
            classes = numpy.unique(true)
            found["auc"] = metrics.roc_auc_score(true == classes[-1], chances[:, 1])
            found["average_precision"] = metrics.average_precision_score(true == classes[-1], chances[:, 1])
            found["brier"] = metrics.brier_score_loss(true == classes[-1], chances[:, 1])
        elif len(set(true)) == chances.shape[1]:
            found["auc"] = metrics.roc_auc_score(true, chances, multi_class="ovr", average="macro")
        if len(set(true)) == chances.shape[1]:
            found["log_loss"] = metrics.log_loss(true, chances)
    return _plain(found)


def _labels(true: Any, said: Any) -> dict[str, float]:
    from sklearn import metrics

    return _plain(
        {
            "accuracy": metrics.accuracy_score(true, said),
            "hamming_loss": metrics.hamming_loss(true, said),
            "f1_micro": metrics.f1_score(true, said, average="micro"),
            "f1_macro": metrics.f1_score(true, said, average="macro"),
            "iou": metrics.jaccard_score(true, said, average="samples"),
        }
    )


def _ranking(groups: Any, true: Any, said: Any) -> dict[str, float]:
    import numpy
    from sklearn.metrics import ndcg_score

    gains, firsts = [], []
    for group in dict.fromkeys(groups):
        inside = groups == group
        if inside.sum() < 2 or not true[inside].any():
            continue
        gains.append(ndcg_score([true[inside]], [said[inside]], k=TOP))
        ordered = true[inside][numpy.argsort(-said[inside])]
        firsts.append(1 / (1 + numpy.flatnonzero(ordered > 0)[0]))
    return _plain({f"ndcg_at_{TOP}": numpy.mean(gains), "mrr": numpy.mean(firsts), "queries": len(gains)})


def _plain(found: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}
