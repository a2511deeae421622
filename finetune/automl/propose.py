"""What is tried next: settings that are good for most tables first, then what those that did well lead to.

Nothing is remembered but the trials themselves: whoever goes on after a kill proposes the same.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from finetune.automl import algorithms, metrics
from finetune.automl.algorithms import ALGORITHMS, Algorithm
from finetune.automl.featurizer import COUNTS, NUMBERS, VECTORS
from finetune.automl.rows import IMBALANCED, Rows, embeds
from finetune.automl.trial import COMPLETED, Outcome, Proposal
from finetune.automl.wanted import Wanted
from workspace.errors import Invalid

SHARES = (0.55, 0.25, 0.12, 0.08)  # how often the best algorithm is searched further, the second best, …
SEVERAL = ("logistic_regression", "linear_svm", "sgd", "multinomial_naive_bayes", "bernoulli_naive_bayes")
_TEXTS_FIRST = ("logistic_regression", "linear_svm", "svm", "sgd", "multinomial_naive_bayes", "knn")


class Proposer:
    """What proposes trials over some rows."""

    def __init__(self, rows: Rows) -> None:
        self._wanted = rows.wanted
        self._balanced = bool(rows.classes) and not rows.several and rows.imbalance <= IMBALANCED
        self._embeds = embeds(rows)
        self.known = chosen(rows)  # as the file calls them, and what they are
        self.first = list(self._portfolio())

    def propose(self, number: int, ended: Sequence[Outcome]) -> Proposal | None:
        """Return trial `number`, after these have ended; None where all that can be tried was."""
        if number < len(self.first):
            called, params = self.first[number]
            return Proposal(number=number, algorithm=self.known[called].name, params=params, called=called)
        good = best_of_each(self._wanted, ended)
        if not good:
            return None
        luck = random.Random(f"{self._wanted.seed} {number}")  # noqa: S311  no secret
        called = luck.choices(good[: len(SHARES)], SHARES[: len(good)])[0]
        algorithm = self.known[called]
        before = [each for each in ended if each.algorithm == algorithm.name]
        found = searched(self._wanted, self._space(algorithm), before, number)
        params = self._settled(algorithm, found)
        return Proposal(number=number, algorithm=algorithm.name, params=params, called=called)

    def _portfolio(self) -> Any:
        """Yield the first trials: one of each algorithm, then the second of each, without doubles."""
        seen: set[str] = set()
        deepest = max(len(each.first) for each in self.known.values())
        for depth in range(deepest):
            for called, algorithm in self.known.items():
                if depth >= len(algorithm.first):
                    continue
                params = self._settled(algorithm, dict(algorithm.first[depth]))
                for each in (params, {**params, "balanced": True}) if self._balanced and not depth else (params,):
                    if (key := f"{called} {sorted(each.items())}") not in seen:
                        seen.add(key)
                        yield called, each

    def _settled(self, algorithm: Algorithm, params: dict[str, Any]) -> dict[str, Any]:
        """Return parameters with a view that these rows have."""
        view = params.get("view", algorithm.views[0])
        if view == VECTORS and not self._embeds:
            view = NUMBERS
        return {**params, "view": view}

    def _space(self, algorithm: Algorithm) -> Callable[[Any], dict[str, Any]]:
        def space(trial: Any) -> dict[str, Any]:
            params = algorithm.space(trial)
            if self._balanced:
                params["balanced"] = trial.suggest_categorical("balanced", (False, True))
            return params

        return space


def best_of_each(wanted: Wanted, ended: Sequence[Outcome]) -> list[str]:
    """Return the algorithms by their best score, the best first."""
    more = metrics.is_maximized(wanted.metric)
    found: dict[str, float] = {}
    for each in ended:
        if each.status == COMPLETED and each.score is not None:
            score = each.score if more else -each.score
            found[each.called] = max(score, found.get(each.called, score))
    return sorted(found, key=lambda called: -found[called])


def searched(
    wanted: Wanted, space: Callable[[Any], dict[str, Any]], before: Sequence[Outcome], number: int
) -> dict[str, Any]:
    """Return what a tree of Parzen estimators makes of the trials so far."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=wanted.seed + number, n_startup_trials=4, multivariate=True)
    more = metrics.is_maximized(wanted.metric)
    study = optuna.create_study(direction="maximize" if more else "minimize", sampler=sampler)
    dummy = study.ask()
    space(dummy)
    spaces = dict(dummy.distributions)
    study.tell(dummy, state=optuna.trial.TrialState.FAIL)
    for each in before:
        if each.score is not None:
            study.add_trial(_told(each, spaces))
    return space(study.ask())


def chosen(rows: Rows) -> dict[str, Algorithm]:
    """Return the algorithms that are tried on these rows, as the job's file calls them, the promising ones first."""
    wanted = rows.wanted
    names = algorithms.CLASSIFIERS if rows.classes else algorithms.REGRESSORS
    if unknown := [name for name in wanted.allowed if name not in names]:
        raise Invalid(f"{unknown[0]!r} cannot be allowed for {wanted.task}", hint=f"known: {', '.join(names)}")
    asked = [name for name in names if (not wanted.allowed or name in wanted.allowed) and name not in wanted.blocked]
    if not asked:
        raise Invalid("all algorithms are blocked", hint="block fewer, or allow some")
    fitting = [name for name in asked if wanted.allowed or _fits(ALGORITHMS[names[name]], rows)]
    if rows.several:
        fitting = [name for name in asked if names[name] in SEVERAL]
    if not fitting:
        hint = f"allow one of {', '.join(SEVERAL)}" if rows.several else "allow light_gbm or logistic_regression"
        raise Invalid(f"none of the allowed algorithms can learn {wanted.task} of these rows", hint=hint)
    found = {name: ALGORITHMS[names[name]] for name in fitting}
    if _is_of_texts(rows):
        order = {name: place for place, name in enumerate(_TEXTS_FIRST)}
        return dict(sorted(found.items(), key=lambda each: order.get(each[0], len(order))))
    return found


def _fits(algorithm: Algorithm, rows: Rows) -> bool:
    """Whether an algorithm is worth a try where the file does not ask for it."""
    if algorithm.most_rows and len(rows.target) > algorithm.most_rows:
        return False
    if algorithm.most_classes and len(rows.classes) > algorithm.most_classes:
        return False
    if COUNTS in algorithm.views:
        return bool(rows.plan.names("text") or rows.plan.names("category"))
    return not _is_of_texts(rows) or algorithm.name in _TEXTS_FIRST


def _is_of_texts(rows: Rows) -> bool:
    return bool(rows.plan.names("text")) and not rows.plan.numeric and not rows.plan.names("category")


def _told(outcome: Outcome, spaces: Mapping[str, Any]) -> Any:
    known = {
        name: value
        for name, value in outcome.params.items()
        if name in spaces and spaces[name]._contains(_inner(spaces[name], value))
    }
    return optuna.trial.create_trial(
        params=known, distributions={name: spaces[name] for name in known}, value=outcome.score
    )


def _inner(space: Any, value: Any) -> Any:
    try:
        return space.to_internal_repr(value)
    except ValueError:
        return -1
