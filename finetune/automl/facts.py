"""What is told of a search that is over: the leaderboard, and how the best model does on rows that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics as measured

from finetune.automl import metrics
from finetune.automl.featurizer import VIEWS, explained
from finetune.automl.model import TableModel
from finetune.automl.rows import class_of, labelled, target_of
from finetune.automl.search import Found
from finetune.automl.trial import Outcome, all_metrics

Numbers = Any
_POINTS = 60  # of a curve
_DOTS = 400  # of a cloud
_BINS = 10
_MATRIX = 30  # classes that a matrix shows: the most frequent
_LOOKED_AT, _COLUMNS = 600, 40  # rows and columns whose importance is measured


def facts(found: Found) -> dict[str, Any]:
    """Return everything that is told of a search over a table, as JSON has it."""
    rows = found.rows
    held = np.unique(np.concatenate(rows.held))
    told = summary(found, all_metrics(rows, found.predicted), rows=len(rows.target))
    if rows.several:
        return told
    if rows.classes:
        told |= _of_classes(found, held)
    else:
        told["residuals"] = residuals(rows.target[held], found.predicted[held])
    if rows.wanted.explains:
        told["importance"] = importance(found)
    return told


def summary(found: Found, best: Mapping[str, float], *, rows: int) -> dict[str, Any]:
    """Return what is told of any search."""
    wanted = found.rows.wanted
    return {
        "task": wanted.task, "target": wanted.target, "metric": wanted.metric,
        "more_is_better": metrics.is_maximized(wanted.metric), "rows": rows,
        "validation": validated(found), "notes": list(found.rows.notes), "why_it_ended": found.why,
        "best": {"kind": found.kind, "score": found.score, "metrics": dict(best), "members": [
            {"trial": each.number, "algorithm": each.called, "weight": each.weight, "score": each.score}
            for each in found.members
        ]},
        "leaderboard": leaderboard(found), "curve": curve(found),
    }  # fmt: skip


def leaderboard(found: Found) -> list[dict[str, Any]]:
    """Return all trials and the ensembles, the best first; what failed last."""
    sign = 1.0 if metrics.is_maximized(found.rows.wanted.metric) else -1.0
    lines = [_line(each) for each in found.outcomes]
    lines += [
        {"trial": kind, "algorithm": kind, "status": "Completed", "score": score}
        for kind, score in found.ensembles.items()
    ]
    worst = -sign * float("inf")
    return sorted(
        lines,
        key=lambda line: (line["status"] != "Completed", -sign * (worst if line["score"] is None else line["score"])),
    )


def curve(found: Found) -> list[dict[str, float]]:
    """Return the best score as time went by."""
    sign = 1.0 if metrics.is_maximized(found.rows.wanted.metric) else -1.0
    best: float | None = None
    told = []
    for each in found.outcomes:
        if each.status != "Completed" or each.score is None:
            continue
        if best is None or sign * each.score > sign * best:
            best = each.score
            told.append({"at": round(each.at, 2), "score": best, "trial": each.number})
    return told


def validated(found: Found) -> str:
    """Return in words how models were held against rows."""
    parts = found.rows.parts
    if len(parts) > 1:
        return f"cross-validation in {len(parts)} parts"
    return f"{len(parts[0][1]):,} rows kept back"


def featurization(found: Found) -> list[dict[str, Any]]:
    """Return what became of each column, and why."""
    kinds = list(dict.fromkeys(str(each.params["view"]) for each in found.members))
    return explained(found.rows.plan, kinds, len(found.rows.target))


def featurization_page(told: list[dict[str, Any]]) -> str:
    """Return that as Markdown."""
    lines = ["# What was made of the columns", ""]
    kinds = sorted({kind for column in told for kind in column["steps"]})
    lines += [*(f"- **{kind}**: {VIEWS[kind]}" for kind in kinds), ""]
    lines += ["| column | taken as | why | missing | values | steps |", "|---|---|---|---|---|---|"]
    for column in told:
        steps = "; ".join(f"{kind}: {', '.join(each)}" for kind, each in column["steps"].items()) or "left out"
        cells = [column["name"], column["purpose"], column["why"], f"{column['missing']:.1%}", f"{column['levels']:,}"]
        cells.append(steps)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def residuals(truth: Numbers, guessed: Numbers) -> dict[str, Any]:
    """Return the histogram of what was missed by, and some of the pairs."""
    missed = truth - guessed
    counts, edges = np.histogram(missed, bins=24)
    places = np.random.default_rng(0).permutation(len(truth))[:_DOTS]
    return {
        "histogram": {"edges": _short(edges), "counts": counts.tolist()},
        "pairs": [[_number(truth[place]), _number(guessed[place])] for place in places],
    }


def importance(found: Found) -> list[dict[str, Any]]:
    """Return by how much the score is worse when a column is shuffled, the largest first."""
    rows = found.rows
    model = TableModel(found.folder)
    luck = np.random.default_rng(0)
    places = luck.permutation(len(rows.target))[:_LOOKED_AT]
    frame = rows.frame.iloc[places].reset_index(drop=True)
    truth = rows.target[places]
    sign = 1.0 if metrics.is_maximized(rows.wanted.metric) else -1.0

    def score(shown: Any) -> float:
        return metrics.one(rows.wanted.metric, truth, model.chances(shown), None, span=rows.span)

    usual = score(frame)
    told = []
    for column in [each for each in rows.plan.columns if each.purpose != "ignore"][:_COLUMNS]:
        shuffled = frame.copy()
        shuffled[column.name] = frame[column.name].to_numpy()[luck.permutation(len(frame))]
        told.append({"column": column.name, "importance": _number(sign * (usual - score(shuffled)))})
    return sorted(told, key=lambda each: -each["importance"])


def tested(model: TableModel, table: Any, found: Found) -> dict[str, float]:
    """Return all metrics of the last model on rows that the search has not seen."""
    wanted = found.rows.wanted
    said = model.chances(table)
    if found.rows.several:
        truth = labelled(table[wanted.target], found.rows.classes)
        return metrics.of_labels(truth, said)
    if not found.rows.classes:
        truth, _ = target_of(table[wanted.target], wanted)
        return metrics.of_numbers(truth, said, span=found.rows.span)
    place = {each: number for number, each in enumerate(found.rows.classes)}
    known = table[wanted.target].map(class_of).map(place)
    there = known.notna().to_numpy()
    return metrics.of_classes(known[there].to_numpy(dtype=int), said[there])


def _of_classes(found: Found, held: Numbers) -> dict[str, Any]:
    rows = found.rows
    truth, chances = rows.target[held], found.predicted[held]
    guessed = chances.argmax(axis=1)
    frequent = np.argsort(-np.bincount(truth, minlength=len(rows.classes)), kind="stable")[:_MATRIX]
    shown = np.sort(frequent)
    matrix = measured.confusion_matrix(truth, guessed, labels=shown)
    told: dict[str, Any] = {
        "classes": [str(each) for each in rows.classes],
        "confusion": {"classes": [str(rows.classes[place]) for place in shown], "counts": matrix.tolist()},
        "calibration": _calibration(guessed == truth, chances.max(axis=1)),
    }
    if len(rows.classes) == 2:
        apart, found_at, _ = measured.roc_curve(truth, chances[:, 1])
        precise, recalled, _ = measured.precision_recall_curve(truth, chances[:, 1])
        told["roc"] = _thinned(apart, found_at)
        told["precision_recall"] = _thinned(recalled[::-1], precise[::-1])
    return told


def _calibration(hit: Numbers, sure: Numbers) -> list[dict[str, float]]:
    """Return how often the model is right where it is so sure."""
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    return [
        {"sure": _number(sure[bins == place].mean()), "right": _number(hit[bins == place].mean()),
         "rows": int((bins == place).sum())}
        for place in range(_BINS) if (bins == place).any()
    ]  # fmt: skip


def _thinned(across: Numbers, up: Numbers) -> list[list[float]]:
    places = np.unique(np.linspace(0, len(across) - 1, min(_POINTS, len(across))).astype(int))
    return [[_number(across[place]), _number(up[place])] for place in places]


def _line(outcome: Outcome) -> dict[str, Any]:
    return {
        "trial": outcome.number, "algorithm": outcome.called, "status": outcome.status, "score": outcome.score,
        "scores": list(outcome.scores), "seconds": round(outcome.seconds, 3), "rounds": outcome.rounds,
        "params": dict(outcome.params), "metrics": dict(outcome.metrics), "error": outcome.error,
    }  # fmt: skip


def _short(values: Numbers) -> list[float]:
    return [_number(value) for value in values]


def _number(value: Any) -> float:
    return float(f"{float(value):.6g}")
