"""XGBoost: boosted trees that grow level by level, for classes, numbers, several labels and rankings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.tabular import preparing
from finetune.tabular.problems import Looked, Problem
from workspace.errors import Invalid

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

USUAL = {"n_estimators": 200, "learning_rate": 0.1, "max_depth": 6, "random_state": 0}


def model(problem: Problem, looked: Looked, **settings: Any) -> Pipeline:
    """Return the untrained model: `model(problem, looked, max_depth=4)`.

    XGBoost's classes are numbers from 0; a vote of one gives them their names back.
    """
    import xgboost
    from sklearn.ensemble import VotingClassifier
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import Pipeline

    given = {**USUAL, **settings}
    learner: Any
    if problem.task == "classification":
        learner = VotingClassifier([("xgboost", xgboost.XGBClassifier(**given))], voting="soft")
    elif problem.task == "multilabel":
        learner = MultiOutputClassifier(xgboost.XGBClassifier(**given))
    elif problem.task == "regression":
        learner = xgboost.XGBRegressor(**given)
    elif problem.task == "ranking":
        learner = xgboost.XGBRanker(objective="rank:ndcg", **given)
    else:
        raise Invalid(f"XGBoost learns no {problem.task}", hint="train_forecast")
    return Pipeline([("prepare", preparing.for_trees(looked)), ("learn", learner)])
