"""scikit-learn: lines, neighbours and forests, with the preparation that each of them likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from finetune.tabular import preparing
from finetune.tabular.problems import Looked, Problem
from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ALGORITHMS = ("linear", "tree", "forest", "extra_trees", "boosting", "neighbours", "svm", "network")
_TREES = ("tree", "forest", "extra_trees", "boosting")


def model(problem: Problem, looked: Looked, algorithm: str = "linear", **settings: Any) -> Pipeline:
    """Return the untrained model: `model(problem, looked, "forest", n_estimators=300)`."""
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import Pipeline

    if algorithm not in ALGORITHMS:
        raise Invalid(f"no algorithm {algorithm!r}", hint=did_you_mean(algorithm, ALGORITHMS))
    if problem.task not in ("classification", "regression", "multilabel"):
        raise Invalid(f"scikit-learn has nothing for {problem.task}", hint="train_ranking, train_forecast")
    kinds = _regressors() if problem.task == "regression" else _classifiers()
    make, usual = kinds[algorithm]
    try:
        learner = make(**{**usual, **settings})
    except TypeError as error:
        raise Invalid(f"{algorithm} does not take these settings: {error}") from None
    if problem.task == "multilabel":
        learner = MultiOutputClassifier(learner)
    prepare = preparing.for_trees(looked) if algorithm in _TREES else preparing.for_lines(looked)
    if algorithm in ("tree", "forest", "extra_trees"):
        prepare.set_params(**{"numbers": _median()} if looked.numbers else {})
    return Pipeline([("prepare", prepare), ("learn", learner)])


def _median() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median", keep_empty_features=True)


def _classifiers() -> Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]]:
    from sklearn import ensemble, linear_model, neighbors, neural_network, svm, tree

    return {
        "linear": (linear_model.LogisticRegression, {"max_iter": 1000}),
        "tree": (tree.DecisionTreeClassifier, {"max_depth": 8, "random_state": 0}),
        "forest": (ensemble.RandomForestClassifier, {"n_estimators": 200, "random_state": 0}),
        "extra_trees": (ensemble.ExtraTreesClassifier, {"n_estimators": 200, "random_state": 0}),
        "boosting": (ensemble.HistGradientBoostingClassifier, {"random_state": 0}),
        "neighbours": (neighbors.KNeighborsClassifier, {}),
        "svm": (svm.SVC, {"random_state": 0}),
        "network": (neural_network.MLPClassifier, {"early_stopping": True, "random_state": 0}),
    }


def _regressors() -> Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]]:
    from sklearn import ensemble, linear_model, neighbors, neural_network, svm, tree

    return {
        "linear": (linear_model.Ridge, {}),
        "tree": (tree.DecisionTreeRegressor, {"max_depth": 8, "random_state": 0}),
        "forest": (ensemble.RandomForestRegressor, {"n_estimators": 200, "random_state": 0}),
        "extra_trees": (ensemble.ExtraTreesRegressor, {"n_estimators": 200, "random_state": 0}),
        "boosting": (ensemble.HistGradientBoostingRegressor, {"random_state": 0}),
        "neighbours": (neighbors.KNeighborsRegressor, {}),
        "svm": (svm.SVR, {}),
        "network": (neural_network.MLPRegressor, {"early_stopping": True, "random_state": 0}),
    }
