"""LightGBM: boosted trees that grow leaf by leaf, for classes, numbers, several labels and rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.tabular import preparing
from finetune.tabular.problems import Looked, Problem
from workspace.errors import Invalid

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

USUAL = {"n_estimators": 200, "learning_rate": 0.05, "random_state": 0, "verbose": -1, "deterministic": True}


def model(problem: Problem, looked: Looked, **settings: Any) -> Pipeline:
    """Return the untrained model: `model(problem, looked, n_estimators=400, num_leaves=63)`."""
    import lightgbm
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import Pipeline

    given = {**USUAL, **settings}
    learner: Any
    if problem.task == "classification":
        learner = lightgbm.LGBMClassifier(**given)
    elif problem.task == "multilabel":
        learner = MultiOutputClassifier(lightgbm.LGBMClassifier(**given))
    elif problem.task == "regression":
        learner = lightgbm.LGBMRegressor(**given)
    elif problem.task == "ranking":
        learner = lightgbm.LGBMRanker(objective="lambdarank", **given)
    else:
        raise Invalid(f"LightGBM learns no {problem.task} by itself", hint="train_forecast gives it lags")
    return Pipeline([("prepare", preparing.for_trees(looked)), ("learn", learner)])
