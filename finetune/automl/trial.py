"""One trial: an algorithm with settings, fitted in each part of cross-validation and held against the rest of it."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.validation import has_fit_parameter

from finetune.automl import metrics
from finetune.automl.algorithms import ALGORITHMS, shown
from finetune.automl.boosters import Given
from finetune.automl.featurizer import View
from finetune.automl.rows import Rows

Numbers = Any
OUTCOME, PREDICTED = "trial.json", "predicted.npy"
APART = ("view", "balanced", "difference", "rounds")  # parameters of how rows are shown, not of the algorithm
ALONE = 5000  # rows below which one thread is faster
COMPLETED, FAILED, CUT = "Completed", "Failed", "Cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is tried: `params` are those of the algorithm, beside those APART."""

    number: int
    algorithm: str
    params: Mapping[str, Any]
    called: str = ""  # as the job's file calls the algorithm

    @property
    def view(self) -> str:
        """Which view of the rows it takes."""
        return str(self.params["view"])

    @property
    def own(self) -> dict[str, Any]:
        """The parameters of the algorithm itself."""
        return {name: value for name, value in self.params.items() if name not in APART}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial. `at` is when it ended, in seconds since the search began."""

    number: int
    algorithm: str
    params: Mapping[str, Any]
    called: str = ""
    status: str = COMPLETED
    score: float | None = None
    scores: tuple[float, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rounds: int = 0
    error: str = ""
    at: float = 0.0

    def save(self, folder: Path) -> None:
        """Keep it; the file is there when everything else is."""
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f"{OUTCOME}.new"
        written.write_text(json.dumps(asdict(self)))
        written.rename(folder / OUTCOME)

    @classmethod
    def load(cls, folder: Path) -> Outcome:
        """Read it again."""
        said = json.loads((folder / OUTCOME).read_text())
        return cls(**{**said, "scores": tuple(said["scores"])})


class Estimator:
    """An algorithm with settings, fitted or to be fitted: of scikit-learn, or a booster."""

    def __init__(self, proposal: Proposal, *, classes: int, threads: int, several: bool = False) -> None:
        algorithm = ALGORITHMS[proposal.algorithm]
        self._classes = classes
        self._several = several
        self.name = algorithm.name
        self.boosts = algorithm.boosts
        made = algorithm.make(proposal.own, classes, threads)
        self.model: Any = OneVsRestClassifier(made) if several and not self.boosts else made
        self.rounds = 0

    def fit(
        self, train: Given, valid: Given | None, *, codes: list[int], until: float, rounds: int | None = None
    ) -> None:
        """Learn from rows; `valid` says to a booster when it is enough."""
        if self.boosts:
            self.model.fit(train, valid, codes=codes, until=until, rounds=rounds)
            self.rounds = self.model.rounds
            return
        weights = train.weights if has_fit_parameter(self.model, "sample_weight") else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            given = {} if weights is None else {"sample_weight": weights}
            self.model.fit(shown(self.name, train.matrix), train.target, **given)

    def predict(self, matrix: Any) -> Numbers:
        """Return chances of all classes, those of labels, or numbers; a class that was not learned from has none."""
        matrix = shown(self.name, matrix)
        if self.boosts:
            return self.model.predict(matrix)
        if not self._classes and not self._several:
            return np.asarray(self.model.predict(matrix), dtype=float).ravel()
        found = np.asarray(self.model.predict_proba(matrix), dtype=float)
        if self._several or found.shape[1] == self._classes:
            return found
        wide = np.zeros((found.shape[0], self._classes))
        wide[:, self.model.classes_] = found
        return wide

    def save(self, folder: Path, name: str) -> str:
        """Keep it without code; return what its file is called."""
        called = f"{name}.{self.model.ending if self.boosts else 'skops'}"
        if self.boosts:
            self.model.save(folder / called)
        else:
            skops.io.dump(self.model, folder / called)
        return called


class Views:
    """The views of rows that were fitted so far: trials that take the same do not fit it again."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._made: dict[tuple[str, int], tuple[View, Any, Any]] = {}

    def of(self, kind: str, part: int) -> tuple[View, Any, Any]:
        """Return a view fitted on a part, with what its rows become: those learned from, those held against."""
        if (kind, part) not in self._made:
            train, valid = self._rows.parts[part]
            view = View(kind, self._rows.plan)
            learned = view.fit(self._rows.prepared.iloc[train], encoded_target(self._rows)[train])
            self._made[kind, part] = (view, learned, view.transform(self._rows.prepared.iloc[valid]))
        return self._made[kind, part]


def run(rows: Rows, views: Views, proposal: Proposal, *, folder: Path, until: float, floor: float | None) -> Outcome:
    """Try; predictions of held rows are kept in `folder`. What is below `floor` in the first part ends there."""
    began = time.monotonic()
    wanted = rows.wanted
    classes = 0 if rows.several else len(rows.classes)
    predicted = _empty(rows)
    scores: list[float] = []
    rounds: list[int] = []
    status = COMPLETED
    weights = weights_of(rows, balanced=bool(proposal.params.get("balanced")))
    for part, (train, valid) in enumerate(rows.parts):
        view, learned, held = views.of(proposal.view, part)
        share = (until - time.monotonic()) / (len(rows.parts) - part)
        estimator = Estimator(proposal, classes=classes, threads=threads_of(rows), several=rows.several)
        estimator.fit(
            Given(matrix=learned, target=rows.target[train], weights=_some(weights, train)),
            Given(matrix=held, target=rows.target[valid], weights=_some(rows.weights, valid)),
            codes=view.codes, until=time.monotonic() + share,
        )  # fmt: skip
        predicted[valid] = estimator.predict(held)
        rounds.append(estimator.rounds)
        scores.append(_score(rows, predicted, valid))
        if not part and floor is not None and _is_below(scores[0], floor, wanted.metric):
            status = CUT
            break
    outcome = Outcome(
        number=proposal.number, algorithm=proposal.algorithm, params=dict(proposal.params), called=proposal.called,
        status=status, score=float(np.mean(scores)), scores=tuple(scores), seconds=time.monotonic() - began,
        rounds=int(np.mean(rounds)), metrics={} if status == CUT else all_metrics(rows, predicted),
        error="" if status == COMPLETED else f"worse than {floor:g} in the first part",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / PREDICTED, predicted)
    return outcome


def all_metrics(rows: Rows, predicted: Numbers, held: list[Numbers] | None = None) -> dict[str, float]:
    """Return all metrics as means over the parts."""
    found: dict[str, list[float]] = {}
    for valid in held or rows.held:
        truth, weights = rows.target[valid], _some(rows.weights, valid)
        if rows.several:
            values = metrics.of_labels(truth, predicted[valid])
        elif rows.classes:
            values = metrics.of_classes(truth, predicted[valid], weights)
        else:
            values = metrics.of_numbers(truth, predicted[valid], weights, span=rows.span)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def weights_of(rows: Rows, *, balanced: bool) -> Numbers | None:
    """Return the weights of rows; balanced, each class weighs the same."""
    if not balanced or not rows.classes or rows.several:
        return rows.weights
    counts = np.bincount(rows.target, minlength=len(rows.classes))
    equal = len(rows.target) / (len(rows.classes) * np.maximum(counts, 1))
    return equal[rows.target] * (1.0 if rows.weights is None else rows.weights)


def threads_of(rows: Rows) -> int:
    """Return how many threads learn: of few rows one, as others would wait for each other."""
    return 1 if len(rows.target) < ALONE else rows.wanted.threads


def encoded_target(rows: Rows) -> Numbers:
    """Return the target as encoders take it."""
    return rows.target if not rows.several else np.zeros(len(rows.target))


def _score(rows: Rows, predicted: Numbers, valid: Numbers) -> float:
    return metrics.one(
        rows.wanted.metric, rows.target[valid], predicted[valid], _some(rows.weights, valid), span=rows.span
    )


def _is_below(score: float, floor: float, metric: str) -> bool:
    return score < floor if metrics.is_maximized(metric) else score > floor


def _empty(rows: Rows) -> Numbers:
    if rows.classes:
        return np.full((len(rows.target), len(rows.classes)), np.nan)
    return np.full(len(rows.target), np.nan)


def _some(values: Numbers | None, places: Numbers) -> Numbers | None:
    return None if values is None else values[places]
