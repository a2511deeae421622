"""LightGBM and XGBoost: trained until validation gets no better or the time is over, kept as text."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST_ROUNDS, PATIENCE = 4000, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Rows that a booster learns from, or is held against."""

    matrix: Any
    target: Any
    weights: Any = None


class Lightgbm:
    """A booster of LightGBM."""

    ending = "txt"

    def __init__(self, params: dict[str, Any], classes: int, threads: int) -> None:
        self._classes = classes
        self._booster: Any = None
        self.rounds = 0
        objective = "regression" if not classes else "binary" if classes == 2 else "multiclass"
        self._params = {
            "objective": objective, "verbosity": -1, "num_threads": threads, "seed": 0, "deterministic": True,
            "force_col_wise": True, "bagging_freq": 1, "max_cat_to_onehot": 8, **params,
        }  # fmt: skip
        if objective == "multiclass":
            self._params["num_class"] = classes

    def fit(
        self, train: Given, valid: Given | None, *, codes: list[int], until: float, rounds: int | None = None
    ) -> None:
        """Learn; with `valid` for as many rounds as are good, else for `rounds`."""
        import lightgbm

        options: dict[str, Any] = {"categorical_feature": codes or "auto", "free_raw_data": True}
        data = lightgbm.Dataset(train.matrix, train.target, weight=train.weights, params={"verbosity": -1}, **options)
        stops: list[Any] = [_lightgbm_until(until)]
        sets = []
        if valid is not None:
            sets = [lightgbm.Dataset(valid.matrix, valid.target, weight=valid.weights, reference=data)]
            stops.append(lightgbm.early_stopping(_patience(self._params), verbose=False))
        self._booster = lightgbm.train(
            self._params, data, num_boost_round=rounds or MOST_ROUNDS, valid_sets=sets, callbacks=stops
        )
        self.rounds = self._booster.best_iteration or self._booster.current_iteration()

    def predict(self, matrix: Any) -> Any:
        """Return chances of classes, or numbers."""
        found = np.asarray(self._booster.predict(matrix, num_iteration=self.rounds or None))
        return np.column_stack([1 - found, found]) if self._classes == 2 else found

    @property
    def importances(self) -> Any:
        """How much each feature has gained."""
        return self._booster.feature_importance("gain")

    def save(self, path: Path) -> None:
        """Keep it as text."""
        self._booster.save_model(str(path), num_iteration=self.rounds or None)

    def load(self, path: Path) -> None:
        """Read it."""
        import lightgbm

        self._booster = lightgbm.Booster(model_file=str(path))


class Xgboost:
    """A booster of XGBoost."""

    ending = "json"

    def __init__(self, params: dict[str, Any], classes: int, threads: int) -> None:
        self._classes = classes
        self._booster: Any = None
        self.rounds = 0
        names = {0: ("reg:squarederror", "rmse"), 2: ("binary:logistic", "logloss")}
        objective, metric = names.get(classes, ("multi:softprob", "mlogloss"))
        self._params = {"objective": objective, "eval_metric": metric, "nthread": threads, "seed": 0, "verbosity": 0,
                        "tree_method": "hist", **params}  # fmt: skip
        if classes > 2:
            self._params["num_class"] = classes

    def fit(
        self, train: Given, valid: Given | None, *, codes: list[int], until: float, rounds: int | None = None
    ) -> None:
        """Learn; with `valid` for as many rounds as are good, else for `rounds`. Codes are numbers to it."""
        import xgboost

        del codes
        data = xgboost.DMatrix(train.matrix, train.target, weight=train.weights)
        held = [(xgboost.DMatrix(valid.matrix, valid.target, weight=valid.weights), "valid")] if valid else []
        self._booster = xgboost.train(
            self._params, data, num_boost_round=rounds or MOST_ROUNDS, evals=held, verbose_eval=False,
            early_stopping_rounds=PATIENCE if valid else None, callbacks=[_xgboost_until(until)],
        )  # fmt: skip
        best = getattr(self._booster, "best_iteration", None) if valid else None
        self.rounds = self._booster.num_boosted_rounds() if best is None else int(best) + 1

    def predict(self, matrix: Any) -> Any:
        """Return chances of classes, or numbers."""
        import xgboost

        found = self._booster.predict(xgboost.DMatrix(matrix), iteration_range=(0, self.rounds))
        return np.column_stack([1 - found, found]) if self._classes == 2 else found

    @property
    def importances(self) -> Any:
        """How much each feature has gained."""
        gains = self._booster.get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{place}", 0.0) for place in range(self._booster.num_features())])

    def save(self, path: Path) -> None:
        """Keep it as JSON, with the rounds that are good."""
        self._booster[: self.rounds].save_model(str(path))

    def load(self, path: Path) -> None:
        """Read it."""
        import xgboost

        self._booster = xgboost.Booster(model_file=str(path))


BOOSTERS = {"lightgbm": Lightgbm, "xgboost": Xgboost}


def _patience(params: dict[str, Any]) -> int:
    """Return after how many rounds without gain to end: more where steps are small."""
    return max(30, min(150, int(3 / float(params.get("learning_rate", 0.1)))))


def _lightgbm_until(until: float) -> Any:
    import lightgbm

    def look(env: Any) -> None:
        if time.monotonic() > until:
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list or [])

    return look


def _xgboost_until(until: float) -> Any:
    import xgboost

    class Clock(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        """What ends the training when the time is over."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            return time.monotonic() > until

    return Clock()
