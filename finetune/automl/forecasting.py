"""Forecasts: forecasters are held against the last steps of each series, from several origins one after the other."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from finetune.automl import metrics
from finetune.automl.algorithms import ALGORITHMS, REGRESSORS
from finetune.automl.boosters import Given
from finetune.automl.featurizer import CODES
from finetune.automl.forecast_model import ForecastModel, Settled, keep
from finetune.automl.forecasters import ABSENT, FORECASTERS, refuse_absent
from finetune.automl.lagged import BASES, LEVEL, SEASONAL, Pairs, pairs_of, rows_at
from finetune.automl.model import Member
from finetune.automl.propose import SHARES, best_of_each, searched
from finetune.automl.search import Began, Event, Going, Said
from finetune.automl.series import Frame, Line, lines_of
from finetune.automl.trial import COMPLETED, PREDICTED, Estimator, Outcome, Proposal
from finetune.automl.wanted import Wanted
from finetune.automl.workers import Work
from workspace.errors import Invalid

Numbers = Any
__all__ = ["Backtest", "ForecastModel", "forecast"]
USUAL_ORIGINS = 3
ROUNDS = 200  # of boosters, where nothing else was found
LEARNING = ("light_gbm", "extreme_random_trees", "xg_boost_regressor", "elastic_net", "random_forest",
            "gradient_boosting", "knn", "decision_tree", "lasso_lars", "sgd")  # fmt: skip
_SLOW = ("knn", "sgd", "lasso_lars", "decision_tree")  # seldom good on lags: tried where they are asked for
_SCALED = ("elastic_net", "lasso_lars", "sgd", "knn")
_WITHOUT_SEASON = ("naive", "average")


@dataclass(slots=True, kw_only=True)
class Backtest:
    """The series, and the steps that forecasts are held against: `held` are parts of `target`, one an origin."""

    wanted: Wanted
    frame: Frame
    lines: list[Line]
    cuts: list[int]  # how many steps before the end of each series an origin lies
    target: Numbers
    held: list[Numbers]
    span: float
    notes: list[str] = field(default_factory=list)
    classes: list[Any] = field(default_factory=list)
    weights: None = None
    several: bool = False

    @property
    def parts(self) -> list[tuple[Numbers, Numbers]]:
        """The parts, as ensembles ask for them."""
        everything = np.arange(len(self.target))
        return [(np.setdiff1d(everything, part), part) for part in self.held]


def forecast(table: Any, wanted: Wanted, *, folder: Path) -> Iterator[Event]:
    """Search for the best forecaster of a table's series; the last event is Found."""
    notes = refuse_absent(wanted.allowed)
    frame, lines = lines_of(table, wanted, notes)
    if frame.horizon.decomposes:
        notes.append("`use_stl` has no effect: seasons are told to the models as lags and sines")
    backtest = _backtest(wanted, frame, lines, notes)
    folder.mkdir(parents=True, exist_ok=True)
    going = Going(
        backtest, folder, proposer=_Proposer(backtest), start=partial(_start, backtest, folder), finish=finish
    )
    yield Began(rows=backtest, before=tuple(going.outcomes))
    yield from (Said(words=note) for note in notes)
    yield from going.trials()
    yield going.close()


def finish(backtest: Backtest, members: Sequence[Member], folder: Path, *, meta: Any, score: float) -> None:
    """Fit the members on the whole series and keep the model."""
    del meta
    pairs = pairs_of(backtest.lines, backtest.frame)
    made = []
    for place, member in enumerate(members):
        if member.algorithm in FORECASTERS:
            made.append(Settled(algorithm=member.algorithm, weight=member.weight, difference="", file=""))
            continue
        estimator, difference = _fitted(backtest, member.proposal, pairs, until=float("inf"))
        file = estimator.save(folder, str(place))
        scaling = estimator.scaling if isinstance(estimator, _Scaled) else None
        made.append(Settled(algorithm=member.algorithm, weight=member.weight, difference=difference, file=file,
                            params=dict(member.params), rounds=estimator.rounds, scaling=scaling))  # fmt: skip
    keep(folder, backtest.frame, backtest.lines, made, metric=backtest.wanted.metric, score=score)


class _Proposer:
    """What is tried: what needs no learning first, regressors on lags, then what they lead to."""

    def __init__(self, backtest: Backtest) -> None:
        self._wanted = backtest.wanted
        asked = self._wanted.allowed
        names = [*FORECASTERS, *LEARNING]
        if unknown := [name for name in asked if name not in names and name not in ABSENT]:
            raise Invalid(f"{unknown[0]!r} cannot forecast here", hint=f"known: {', '.join(names)}")
        wanted = [name for name in names if not asked or name in asked]
        self._names = [name for name in wanted if name not in self._wanted.blocked and (asked or name not in _SLOW)]
        if not self._names:
            raise Invalid("all algorithms are blocked", hint="block fewer, or allow some")
        self.first = list(self._portfolio())

    def propose(self, number: int, ended: Sequence[Outcome]) -> Proposal | None:
        """Return trial `number`; None where nothing is left that could be searched."""
        if number < len(self.first):
            called, params = self.first[number]
            return Proposal(number=number, algorithm=REGRESSORS.get(called, called), params=params, called=called)
        good = [called for called in best_of_each(self._wanted, ended) if called in REGRESSORS]
        if not good:
            return None
        luck = random.Random(f"{self._wanted.seed} {number}")  # noqa: S311  no secret
        called = luck.choices(good[: len(SHARES)], SHARES[: len(good)])[0]
        algorithm = ALGORITHMS[REGRESSORS[called]]
        before = [each for each in ended if each.called == called]

        def space(trial: Any) -> dict[str, Any]:
            found = {**algorithm.space(trial), "difference": trial.suggest_categorical("difference", BASES)}
            return {**found, "rounds": trial.suggest_int("rounds", 50, 800, log=True)} if algorithm.boosts else found

        params = searched(self._wanted, space, before, number)
        return Proposal(number=number, algorithm=algorithm.name, params={**params, "view": CODES}, called=called)

    def _portfolio(self) -> Iterator[tuple[str, dict[str, Any]]]:
        plain = [name for name in self._names if name in FORECASTERS]
        learning = [name for name in self._names if name in LEARNING]
        quick = plain[:4]
        yield from ((name, {"view": CODES}) for name in quick)
        for difference in (LEVEL, SEASONAL):
            for name in learning:
                params = dict(ALGORITHMS[REGRESSORS[name]].first[0])
                yield name, {**params, "view": CODES, "difference": difference}
            if difference == LEVEL:
                yield from ((name, {"view": CODES}) for name in plain[4:])


class _Scaled(Estimator):
    """An estimator that is shown numbers around zero."""

    scaling: tuple[list[float], list[float]] | None = None


def _start(backtest: Backtest, folder: Path) -> Work:
    pairs = pairs_of(backtest.lines, backtest.frame)

    def work(asked: Any) -> Outcome:
        proposal, until, _ = asked
        return _run(backtest, pairs, proposal, folder=folder / str(proposal.number), until=until)

    return work


def _run(backtest: Backtest, pairs: Pairs, proposal: Proposal, *, folder: Path, until: float) -> Outcome:
    began = time.monotonic()
    predicted = np.full(len(backtest.target), np.nan)
    rounds = []
    for part, cut in enumerate(backtest.cuts):
        if proposal.algorithm in FORECASTERS:
            said = [
                FORECASTERS[proposal.algorithm](
                    line.values[: len(line) - cut], backtest.frame.steps, backtest.frame.season
                )
                for line in backtest.lines
            ]
            predicted[backtest.held[part]] = np.concatenate(said)
            continue
        share = (until - time.monotonic()) / (len(backtest.cuts) - part)
        estimator, difference = _fitted(backtest, proposal, pairs, cut=cut, until=time.monotonic() + share)
        rounds.append(estimator.rounds)
        predicted[backtest.held[part]] = _ahead(backtest, estimator, difference, cut)
    if not np.isfinite(predicted).all():
        raise ValueError("it has forecast what is no number")
    scores = [
        metrics.one(backtest.wanted.metric, backtest.target[part], predicted[part], None, span=backtest.span)
        for part in backtest.held
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / PREDICTED, predicted)
    return Outcome(
        number=proposal.number, algorithm=proposal.algorithm, params=dict(proposal.params), called=proposal.called,
        status=COMPLETED, score=float(np.mean(scores)), scores=tuple(scores), seconds=time.monotonic() - began,
        rounds=int(np.mean(rounds)) if rounds else 0, metrics=measured(backtest, predicted),
    )  # fmt: skip


def measured(backtest: Backtest, predicted: Numbers) -> dict[str, float]:
    """Return all metrics as means over the origins."""
    each = [metrics.of_numbers(backtest.target[part], predicted[part], span=backtest.span) for part in backtest.held]
    return {name: float(np.mean([values[name] for values in each])) for name in each[0]}


def _fitted(
    backtest: Backtest, proposal: Proposal, pairs: Pairs, *, until: float, cut: int = 0
) -> tuple[Estimator, str]:
    """Return a regressor that has learned from all targets before an origin."""
    difference = str(proposal.params.get("difference", LEVEL))
    ends = np.array([len(line) for line in backtest.lines])[pairs.lines] - cut
    known = np.flatnonzero(pairs.ends < ends)
    estimator = _Scaled(proposal, classes=0, threads=backtest.wanted.threads)
    matrix, target = pairs.matrix, pairs.target - pairs.bases[difference]
    if proposal.algorithm in _SCALED:
        mean, spread = matrix[known].mean(axis=0), matrix[known].std(axis=0)
        estimator.scaling = (mean.tolist(), np.where(spread > 0, spread, 1.0).tolist())
        matrix = np.nan_to_num((matrix - mean) / np.where(spread > 0, spread, 1.0))
    rounds = int(proposal.params.get("rounds", ROUNDS)) if estimator.boosts else None
    estimator.fit(Given(matrix=matrix[known], target=target[known]), None, codes=[], until=until, rounds=rounds)
    return estimator, difference


def _ahead(backtest: Backtest, estimator: Estimator, difference: str, cut: int) -> Numbers:
    """Return what a regressor says of the steps after an origin, of all series."""
    said = []
    for number, line in enumerate(backtest.lines):
        until = len(line) - cut
        rows = rows_at(line.until(until), backtest.frame, np.array([until - 1]), number=number, ahead=line)
        matrix = scaled(rows.matrix, getattr(estimator, "scaling", None))
        said.append(estimator.predict(matrix) + rows.bases[difference])
    return np.concatenate(said)


def scaled(matrix: Numbers, scaling: Any) -> Numbers:
    """Return numbers around zero, where the regressor has learned from such."""
    if scaling is None:
        return matrix
    mean, spread = (np.asarray(each) for each in scaling)
    return np.nan_to_num((matrix - mean) / spread)


def _backtest(wanted: Wanted, frame: Frame, lines: list[Line], notes: list[str]) -> Backtest:
    shortest = min(len(line) for line in lines)
    apart = frame.horizon.step_between or frame.steps
    most = max(1, (shortest - frame.steps - 2) // apart)
    origins = min(wanted.folds or USUAL_ORIGINS, most)
    cuts = [frame.steps + number * apart for number in range(origins)][::-1]
    target = [line.values[len(line) - cut :][: frame.steps] for cut in cuts for line in lines]
    width = frame.steps * len(lines)
    held = [np.arange(part * width, (part + 1) * width) for part in range(origins)]
    everything = np.concatenate([line.values for line in lines])
    if np.ptp(everything) == 0:
        raise Invalid(f"the target {frame.target!r} has the same value in every row: nothing can be learned")
    return Backtest(wanted=wanted, frame=frame, lines=lines, cuts=cuts, target=np.concatenate(target), held=held,
                    span=float(np.ptp(everything)), notes=notes)  # fmt: skip
