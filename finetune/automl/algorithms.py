"""The algorithms, by the original's names: which view each takes, what is tried first, and what is searched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn import ensemble, linear_model, naive_bayes, neighbors, svm, tree
from sklearn.calibration import CalibratedClassifierCV

from finetune.automl.boosters import BOOSTERS
from finetune.automl.featurizer import CODES, COUNTS, LEVELS, NUMBERS, VECTORS

Params = dict[str, Any]
MOST_CLASSES = 120  # for which trees are grown one after the other for each class
MOST_ROWS = 20_000  # for what compares each row with each


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One way of learning. `first` are settings that are good for most tables, tried in this order."""

    name: str
    make: Callable[[Params, int, int], Any]  # parameters, classes (0 for numbers), threads
    views: tuple[str, ...]
    first: tuple[Params, ...]
    space: Callable[[Any], Params]  # of an Optuna trial
    boosts: str = ""  # "lightgbm" or "xgboost": trained round by round
    most_rows: int = 0
    most_classes: int = 0
    dense: bool = False  # whether it takes no sparse matrix


def _forest(extra: bool) -> Callable[[Params, int, int], Any]:
    def make(params: Params, classes: int, threads: int) -> Any:
        kinds = (
            (ensemble.ExtraTreesClassifier, ensemble.ExtraTreesRegressor)
            if extra
            else (ensemble.RandomForestClassifier, ensemble.RandomForestRegressor)
        )
        kind = kinds[0] if classes else kinds[1]
        return kind(**params, n_jobs=threads, random_state=0)

    return make


def _plain(classifier: Any, regressor: Any, **fixed: Any) -> Callable[[Params, int, int], Any]:
    def make(params: Params, classes: int, _threads: int) -> Any:
        kind = classifier if classes else regressor
        known = kind().get_params()
        return kind(**{**{name: value for name, value in fixed.items() if name in known}, **params})

    return make


def _sgd(params: Params, classes: int, _threads: int) -> Any:
    if not classes:
        return linear_model.SGDRegressor(**params, random_state=0, average=True)
    return linear_model.SGDClassifier(**params, loss="log_loss", random_state=0, average=True)


def _linear_svm(params: Params, classes: int, _threads: int) -> Any:
    if not classes:
        return svm.LinearSVR(**params)
    return CalibratedClassifierCV(svm.LinearSVC(**params), cv=3, ensemble=False)


def _svm(params: Params, classes: int, _threads: int) -> Any:
    if not classes:
        return svm.SVR(**params)
    return CalibratedClassifierCV(svm.SVC(**params), cv=3, ensemble=False)


def _knn(params: Params, classes: int, threads: int) -> Any:
    kind = neighbors.KNeighborsClassifier if classes else neighbors.KNeighborsRegressor
    return kind(**params, n_jobs=threads)


_TREE_VIEWS = (CODES, LEVELS)
_LINEAR_VIEWS = (NUMBERS, VECTORS)

_LIGHT_GBM: tuple[Params, ...] = (
    {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.8, "bagging_fraction": 0.9},
    {"learning_rate": 0.03, "num_leaves": 64, "min_data_in_leaf": 40, "feature_fraction": 0.6, "bagging_fraction": 0.8,
     "lambda_l2": 5.0, "view": LEVELS},
    {"learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 30, "feature_fraction": 0.7, "bagging_fraction": 0.9,
     "lambda_l2": 1.0},
    {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 10, "feature_fraction": 0.9, "extra_trees": True,
     "bagging_fraction": 1.0},
)  # fmt: skip
_XG_BOOST: tuple[Params, ...] = (
    {"eta": 0.05, "max_depth": 6, "min_child_weight": 2.0, "subsample": 0.9, "colsample_bytree": 0.8},
    {"eta": 0.05, "max_depth": 4, "min_child_weight": 5.0, "subsample": 0.8, "colsample_bytree": 0.6, "lambda": 5.0,
     "view": LEVELS},
)  # fmt: skip


def _light_gbm_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _TREE_VIEWS),
        "learning_rate": trial.suggest_float("learning_rate", 0.015, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 200, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 3, 200, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l1": trial.suggest_float("lambda_l1", 1e-3, 10.0, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 30.0, log=True),
        "min_gain_to_split": trial.suggest_float("min_gain_to_split", 1e-4, 1.0, log=True),
        "extra_trees": trial.suggest_categorical("extra_trees", (False, True)),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 60.0, log=True),
    }


def _xg_boost_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _TREE_VIEWS),
        "eta": trial.suggest_float("eta", 0.015, 0.2, log=True),
        "max_depth": trial.suggest_int("max_depth", 3, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 50.0, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "lambda": trial.suggest_float("lambda", 1e-3, 30.0, log=True),
        "alpha": trial.suggest_float("alpha", 1e-3, 10.0, log=True),
    }


def _forest_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _TREE_VIEWS),
        "n_estimators": trial.suggest_int("n_estimators", 100, 400, step=100),
        "max_features": trial.suggest_float("max_features", 0.15, 1.0),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 20, log=True),
    }


def _tree_space(trial: Any) -> Params:
    return {
        "max_depth": trial.suggest_int("max_depth", 2, 20),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 100, log=True),
    }


def _boosting_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _TREE_VIEWS),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 6, 80, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 100, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 1e-3, 30.0, log=True),
        "max_features": trial.suggest_float("max_features", 0.4, 1.0),
    }


def _strength(name: str, low: float, high: float) -> Callable[[Any], Params]:
    def space(trial: Any) -> Params:
        return {
            "view": trial.suggest_categorical("view", _LINEAR_VIEWS),
            name: trial.suggest_float(name, low, high, log=True),
        }

    return space


def _elastic_net_space(trial: Any) -> Params:
    return {
        "alpha": trial.suggest_float("alpha", 1e-4, 10.0, log=True),
        "l1_ratio": trial.suggest_float("l1_ratio", 0.02, 1.0),
    }


def _sgd_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _LINEAR_VIEWS),
        "alpha": trial.suggest_float("alpha", 1e-6, 1e-1, log=True),
        "penalty": trial.suggest_categorical("penalty", ("l2", "elasticnet")),
    }


def _knn_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _LINEAR_VIEWS),
        "n_neighbors": trial.suggest_int("n_neighbors", 3, 60, log=True),
        "weights": trial.suggest_categorical("weights", ("uniform", "distance")),
    }


def _svm_space(trial: Any) -> Params:
    return {
        "view": trial.suggest_categorical("view", _LINEAR_VIEWS),
        "C": trial.suggest_float("C", 0.05, 50.0, log=True),
        "gamma": trial.suggest_categorical("gamma", ("scale", "auto")),
    }


_SMOOTH = _strength("alpha", 1e-3, 10.0)


def _naive_bayes_space(trial: Any) -> Params:
    return {"alpha": _SMOOTH(trial)["alpha"]}


_BOOST = {"max_iter": 300, "early_stopping": True, "n_iter_no_change": 15, "random_state": 0}
_LEAST_ANGLE = {"alpha": 0.01}
ALGORITHMS: Mapping[str, Algorithm] = {
    each.name: each
    for each in (
        Algorithm(
            name="light_gbm",
            make=BOOSTERS["lightgbm"],
            views=_TREE_VIEWS,
            first=_LIGHT_GBM,
            space=_light_gbm_space,
            boosts="lightgbm",
            most_classes=MOST_CLASSES,
        ),
        Algorithm(
            name="xg_boost",
            make=BOOSTERS["xgboost"],
            views=_TREE_VIEWS,
            first=_XG_BOOST,
            space=_xg_boost_space,
            boosts="xgboost",
            most_classes=MOST_CLASSES,
        ),
        Algorithm(
            name="random_forest",
            make=_forest(False),
            views=_TREE_VIEWS,
            space=_forest_space,
            first=({"n_estimators": 200, "max_features": 0.4, "min_samples_leaf": 3},),
        ),
        Algorithm(
            name="extreme_random_trees",
            make=_forest(True),
            views=_TREE_VIEWS,
            space=_forest_space,
            first=({"n_estimators": 200, "max_features": 0.7, "min_samples_leaf": 3},),
        ),
        Algorithm(
            name="decision_tree",
            views=_TREE_VIEWS,
            space=_tree_space,
            first=({"max_depth": 8, "min_samples_leaf": 20},),
            make=_plain(tree.DecisionTreeClassifier, tree.DecisionTreeRegressor, random_state=0),
        ),
        Algorithm(
            name="gradient_boosting",
            views=_TREE_VIEWS,
            space=_boosting_space,
            first=({"learning_rate": 0.06, "max_leaf_nodes": 31, "min_samples_leaf": 20, "l2_regularization": 1.0},),
            make=_plain(ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor, **_BOOST),
            most_classes=MOST_CLASSES,
        ),
        Algorithm(
            name="logistic_regression",
            views=_LINEAR_VIEWS,
            space=_strength("C", 0.01, 100.0),
            first=(
                {"C": 1.0, "view": VECTORS},
                {"C": 10.0, "view": VECTORS},
                {"C": 1.0, "view": NUMBERS},
                {"C": 20.0, "view": NUMBERS},
            ),
            make=_plain(linear_model.LogisticRegression, linear_model.LogisticRegression, max_iter=300),
        ),
        Algorithm(
            name="sgd",
            views=_LINEAR_VIEWS,
            space=_sgd_space,
            first=({"alpha": 1e-4, "penalty": "l2"},),
            make=_sgd,
        ),
        Algorithm(
            name="linear_svm",
            make=_linear_svm,
            views=_LINEAR_VIEWS,
            space=_strength("C", 0.005, 10.0),
            first=({"C": 0.5, "view": VECTORS}, {"C": 0.5, "view": NUMBERS}),
        ),
        Algorithm(
            name="svm",
            make=_svm,
            views=_LINEAR_VIEWS,
            space=_svm_space,
            first=({"C": 2.0, "gamma": "scale", "view": VECTORS},),
            most_rows=MOST_ROWS,
        ),
        Algorithm(
            name="knn",
            make=_knn,
            views=_LINEAR_VIEWS,
            space=_knn_space,
            first=({"n_neighbors": 15, "weights": "distance"},),
            most_rows=2 * MOST_ROWS,
        ),
        Algorithm(
            name="multinomial_naive_bayes",
            views=(COUNTS,),
            space=_naive_bayes_space,
            first=({"alpha": 0.1},),
            make=_plain(naive_bayes.MultinomialNB, naive_bayes.MultinomialNB),
        ),
        Algorithm(
            name="bernoulli_naive_bayes",
            views=(COUNTS,),
            space=_naive_bayes_space,
            first=({"alpha": 0.1},),
            make=_plain(naive_bayes.BernoulliNB, naive_bayes.BernoulliNB),
        ),
        Algorithm(
            name="elastic_net",
            views=(NUMBERS,),
            space=_elastic_net_space,
            first=({"alpha": 0.05, "l1_ratio": 0.1}, {"alpha": 0.01, "l1_ratio": 0.9}),
            make=_plain(linear_model.ElasticNet, linear_model.ElasticNet, max_iter=3000),
        ),
        Algorithm(
            name="lasso_lars",
            dense=True,
            views=(NUMBERS,),
            space=lambda trial: {"alpha": trial.suggest_float("alpha", 1e-5, 1.0, log=True)},
            first=(_LEAST_ANGLE,),
            make=_plain(linear_model.LassoLars, linear_model.LassoLars),
        ),
    )
}
# What the files call them, for classes and for numbers, in the order in which they are tried.
CLASSIFIERS = {
    "light_gbm": "light_gbm", "logistic_regression": "logistic_regression", "xg_boost_classifier": "xg_boost",
    "extreme_random_trees": "extreme_random_trees", "random_forest": "random_forest",
    "gradient_boosting": "gradient_boosting", "linear_svm": "linear_svm", "svm": "svm", "sgd": "sgd", "knn": "knn",
    "multinomial_naive_bayes": "multinomial_naive_bayes", "bernoulli_naive_bayes": "bernoulli_naive_bayes",
    "decision_tree": "decision_tree",
}  # fmt: skip
REGRESSORS = {
    "light_gbm": "light_gbm", "elastic_net": "elastic_net", "xg_boost_regressor": "xg_boost",
    "extreme_random_trees": "extreme_random_trees", "random_forest": "random_forest",
    "gradient_boosting": "gradient_boosting", "lasso_lars": "lasso_lars", "sgd": "sgd", "knn": "knn",
    "decision_tree": "decision_tree",
}  # fmt: skip


def shown(name: str, matrix: Any) -> Any:
    """Return a matrix as an algorithm takes it."""
    return matrix.toarray() if ALGORITHMS[name].dense and hasattr(matrix, "toarray") else matrix
