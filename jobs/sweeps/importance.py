"""How much each searched value mattered: fANOVA over the trials, by Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jobs.sweeps.spaces import written
from jobs.sweeps.trials import Trial
from workspace.errors import MissingExtra

LEAST = 4  # trials with a number: of fewer nothing can be said


def importance(trials: Sequence[Trial], *, maximize: bool) -> dict[str, float]:
    """Return the share of each searched value in how the metric varies, the greatest first; nothing for few trials.

    The shares add up to 1. A value that was the same in all trials is left out.
    """
    scored = [(trial, trial.score(maximize=maximize)) for trial in trials]
    there = [(trial, score) for trial, score in scored if score is not None and math.isfinite(score)]
    if len(there) < LEAST or len({score for _, score in there}) < 2:
        return {}
    try:
        import optuna
    except ImportError:
        raise MissingExtra("what mattered is told by Optuna", hint="pip install 'studiolo[automl]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    values = {name: _column([written(trial.values[name]) for trial, _ in there]) for name in there[0][0].values}
    spaces = {name: _space(optuna, found) for name, found in values.items() if len(set(found)) > 1}
    if not spaces:
        return {}
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for place, (_, score) in enumerate(there):
        given = {name: values[name][place] for name in spaces}
        study.add_trial(optuna.trial.create_trial(params=given, distributions=spaces, value=score))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _column(values: Sequence[Any]) -> list[Any]:
    """Return all values as numbers, or else all as text."""
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return [float(each) for each in values]
    return [str(each) for each in values]


def _space(optuna: Any, values: Sequence[Any]) -> Any:
    if isinstance(values[0], float):
        return optuna.distributions.FloatDistribution(min(values), max(values))
    return optuna.distributions.CategoricalDistribution(sorted(set(values)))
