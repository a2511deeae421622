"""Why a model says what it says: how much each column moves its answer, for all rows and for single ones.

The numbers are SHAP values: exact ones from the model itself where it is a line or boosted trees, from `shap` for
other trees, and by permutation for all else. Of classifiers they tell the wished-for class, in log-odds for lines and
boosted trees, as a chance for all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.tabular.asking import Asked

if TYPE_CHECKING:
    from pandas import DataFrame

_BACKGROUND = 30  # rows that stand for "otherwise", where columns are permuted
_PERMUTED = 40  # rows that are explained so: each costs hundreds of answers


@dataclass(frozen=True, slots=True)
class Explained:
    """How it was found, the mean size of each column's part, and the parts of the rows that were explained."""

    how: str
    importance: dict[str, float]
    rows: tuple[int, ...]  # their places in the table
    parts: tuple[dict[str, float], ...]


def explain(asked: Asked, table: DataFrame, positive: Any = None, *, seed: int = 0) -> Explained:
    """Return what moves the model's answers about a table."""
    given = asked.given(table)
    learner, prepare = _inside(asked.learner)
    if learner is not None:
        found = _by_itself(learner, prepare, given, asked, positive)
        if found is not None:
            how, values, names = found
            return _told(how, values, names, [*given.columns], range(len(given)))
    return _by_permutation(asked, given, positive, seed)


def _inside(model: Any) -> tuple[Any, Any]:
    """Return the learner of a pipeline of two steps, and what prepares its columns."""
    from sklearn.ensemble import VotingClassifier
    from sklearn.pipeline import Pipeline

    if not isinstance(model, Pipeline) or len(model.steps) != 2 or not hasattr(model[0], "transformers_"):
        return None, None
    learner = model[-1]
    if isinstance(learner, VotingClassifier) and len(learner.estimators_) == 1:
        learner = learner.estimators_[0]
    return learner, model[0]


def _by_itself(learner: Any, prepare: Any, given: DataFrame, asked: Asked, positive: Any) -> Any:
    kind = f"{type(learner).__module__.partition('.')[0]}.{type(learner).__name__}"
    place = [*asked.classes].index(positive) if positive is not None and positive in asked.classes else -1
    made = prepare.transform(given)
    names = [str(each) for each in prepare.get_feature_names_out()]
    if kind.startswith("lightgbm."):
        return (
            "TreeSHAP, by LightGBM",
            _one_class(learner.predict(made, pred_contrib=True), len(names), place, asked),
            names,
        )
    if kind.startswith("xgboost."):
        import xgboost

        found = learner.get_booster().predict(xgboost.DMatrix(made), pred_contribs=True)
        flat = found.reshape(len(found), -1)
        return "TreeSHAP, by XGBoost", _one_class(flat, len(names), place, asked), names
    if hasattr(learner, "coef_"):
        weights = learner.coef_
        if weights.ndim == 2:
            weights = weights[0] * (1 if place in (-1, 1) else -1) if len(weights) == 1 else weights[place]
        return "the line's own weights", (made - made.mean(axis=0)) * weights, names
    if hasattr(learner, "tree_") or hasattr(learner, "estimators_") or "HistGradient" in kind:
        return _by_shap(learner, made, place, names)
    return None


def _by_shap(learner: Any, made: Any, place: int, names: list[str]) -> Any:
    import shap

    values = shap.TreeExplainer(learner).shap_values(made, check_additivity=False)
    if isinstance(values, list):
        values = values[place]
    if values.ndim == 3:
        values = values[:, :, place]
    return "TreeSHAP, by shap", values, names


def _one_class(values: Any, columns: int, place: int, asked: Asked) -> Any:
    """Return the parts of one class without the constant that comes last."""
    blocks = values.reshape(len(values), -1, columns + 1)
    if blocks.shape[1] > 1:
        return blocks[:, place, :-1]
    return blocks[:, 0, :-1] * (-1 if place == 0 and len(asked.classes) == 2 else 1)


def _by_permutation(asked: Asked, given: DataFrame, positive: Any, seed: int) -> Explained:
    import numpy
    import pandas
    import shap
    from pandas.api.types import is_numeric_dtype

    chosen = given.sample(min(_PERMUTED, len(given)), random_state=seed)
    words = {name: pandas.Index(given[name].astype(object).unique()) for name in given.columns
             if not is_numeric_dtype(given[name])}  # fmt: skip

    def coded(rows: DataFrame) -> Any:
        columns = [words[name].get_indexer(rows[name].astype(object)) if name in words else rows[name].to_numpy(float)
                   for name in given.columns]  # fmt: skip
        return numpy.stack(columns, axis=1).astype(float)

    def answer(codes: Any) -> Any:
        columns = {name: words[name][codes[:, at].astype(int)] if name in words else codes[:, at]
                   for at, name in enumerate(given.columns)}  # fmt: skip
        rows = pandas.DataFrame(columns)
        chances = asked.chances(rows) if positive is not None else None
        if chances is not None:
            return chances[:, [*asked.classes].index(positive)]
        said = asked.predict(rows)
        return (said == positive).astype(float) if positive is not None else said.astype(float).reshape(len(rows))

    background = coded(given.sample(min(_BACKGROUND, len(given)), random_state=seed + 1))
    explainer = shap.PermutationExplainer(answer, shap.maskers.Independent(background), seed=seed)
    budget = 2 * len(given.columns) + 1
    values = explainer(coded(chosen), max_evals=budget, silent=True).values
    names = [str(name) for name in given.columns]
    places = [int(place) for place in given.index.get_indexer(chosen.index)]
    return _told("SHAP by permutation", values, names, names, places)


def _told(how: str, values: Any, names: list[str], columns: list[Any], rows: Any) -> Explained:
    """Add what belongs to one column: its words are columns of their own inside of the model."""
    import numpy

    found = numpy.asarray(values, dtype=float)
    summed = {str(column): numpy.zeros(len(found)) for column in columns}
    for at, name in enumerate(names):
        summed[_column_of(name, [*summed])] += found[:, at]
    importance = {name: float(numpy.abs(parts).mean()) for name, parts in summed.items()}
    ordered = dict(sorted(importance.items(), key=lambda pair: -pair[1]))
    parts = tuple({name: float(summed[name][at]) for name in ordered} for at in range(len(found)))
    return Explained(how, ordered, tuple(map(int, rows)), parts)


def _column_of(name: str, columns: list[str]) -> str:
    if name in columns:
        return name
    fitting = [column for column in columns if name.startswith(f"{column}_")]
    return max(fitting, key=len)
