"""Train a model of a table: look, fit, measure. One road for all that scikit-learn's interface covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune.tabular import lightgbm_trees, scikit, scores, tables, xgboost_trees
from finetune.tabular.problems import Finding, Looked, Problem, look
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame

Way = Literal["sklearn", "xgboost", "lightgbm"]
_WAYS = {"sklearn": scikit.model, "xgboost": xgboost_trees.model, "lightgbm": lightgbm_trees.model}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model: anything with `predict`, the columns that it takes, how well it does, and what was found."""

    model: Any
    problem: Problem
    looked: Looked
    metrics: Mapping[str, float]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a person should know before trusting the model."""
        return self.looked.findings

    def given(self, table: DataFrame) -> DataFrame:
        """Return the columns of a table that the model takes, as it takes them."""
        return inputs(self.looked, table)


def train(
    way: Way, table: DataFrame, problem: Problem, settings: Mapping[str, Any], *, held_out: DataFrame | None = None
) -> Trained:
    """Train by a way: `train("lightgbm", table, Problem(task="regression", targets=("price",)), {})`.

    `held_out` are rows to measure it with; without them the metrics are those of the rows that it has seen.
    """
    looked = look(_in_order(table, problem), problem)
    fitted = _WAYS[way](problem, looked, **settings)
    rows = looked.rows
    target: Any = rows[list(problem.targets)] if problem.task == "multilabel" else rows[problem.target]
    if problem.task == "multilabel":
        target = target.astype(int).to_numpy()
    try:
        fitted.fit(rows[list(looked.features)], target, **_extras(way, rows, problem))
    except (ValueError, TypeError) as error:
        raise Invalid(f"{way} cannot be trained so: {error}") from error
    seen = table if held_out is None else held_out
    made = Trained(model=fitted, problem=problem, looked=looked, metrics={})
    measured = scores.measure(problem, seen, predictions(made, seen), probabilities(made, seen))
    return Trained(model=fitted, problem=problem, looked=looked, metrics=measured)


def inputs(looked: Looked, table: DataFrame) -> DataFrame:
    """Return the features of a table: numbers as floats, words as text."""
    from finetune.tabular.problems import plain

    tables.has(table, looked.features)
    return plain(table[list(looked.features)], looked.numbers, looked.categories)


def predictions(trained: Trained, table: DataFrame) -> Any:
    """Return what the model says of each row."""
    return trained.model.predict(trained.given(table))


def probabilities(trained: Trained, table: DataFrame) -> Any:
    """Return the probability of each class, where the model tells it."""
    if trained.problem.task != "classification" or not hasattr(trained.model, "predict_proba"):
        return None
    return trained.model.predict_proba(trained.given(table))


def _in_order(table: DataFrame, problem: Problem) -> DataFrame:
    if problem.task != "ranking":
        return table
    tables.has(table, [problem.group])
    return table.sort_values(problem.group, kind="stable").reset_index(drop=True)


def _extras(way: Way, rows: DataFrame, problem: Problem) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if problem.task == "ranking":
        sizes = rows.groupby(problem.group, sort=True).size()
        codes = rows[problem.group].astype("category").cat.codes
        found = {"learn__group": sizes.to_numpy()} if way == "lightgbm" else {"learn__qid": codes.to_numpy()}
    if problem.weight:
        found["learn__sample_weight"] = rows[problem.weight].to_numpy(dtype=float)
    return found
