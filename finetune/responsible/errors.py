"""Where a model errs: a small tree that parts the rows so that errors gather in few of its leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.responsible.groups import Answers

if TYPE_CHECKING:
    from pandas import DataFrame

_DEPTH, _WORDS = 3, 8
_LEAST = 0.02  # of the rows in a leaf


@dataclass(frozen=True, slots=True)
class Node:
    """Rows that share all conditions on the way here: how often the model errs there, and its part of all errors.

    For numbers `rate` is the mean absolute error and `coverage` the part of all of it.
    """

    condition: str
    rows: int
    rate: float
    coverage: float
    children: tuple[Node, ...] = ()


def tree(answers: Answers, features: DataFrame) -> Node:
    """Return the tree: its root is all rows."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    is_number = answers.task == "regression"
    wrong = (answers.said - answers.true).abs() if is_number else (answers.said != answers.true)
    errors = wrong.to_numpy(dtype=float)
    given, conditions = _columns(features)
    least = max(20, round(_LEAST * len(errors)))
    kind: Any = DecisionTreeRegressor if is_number else DecisionTreeClassifier
    found = kind(max_depth=_DEPTH, min_samples_leaf=least, min_impurity_decrease=1e-4 if not is_number else 0.0,
                 random_state=0)  # fmt: skip
    found.fit(given, errors if is_number else errors.astype(int))
    inside = found.decision_path(given).toarray().astype(bool)
    inner, total = found.tree_, errors.sum() or 1.0

    def node(place: int, condition: str) -> Node:
        here = errors[inside[:, place]]
        children: tuple[Node, ...] = ()
        if inner.children_left[place] != -1:
            name, threshold = conditions[inner.feature[place]], inner.threshold[place]
            below, above = _said(name, threshold)
            children = (node(inner.children_left[place], below), node(inner.children_right[place], above))
        return Node(condition, len(here), float(here.mean()), float(here.sum() / total), children)

    return node(0, "all rows")


def leaves(root: Node, before: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Node]]:
    """Return the leaves with the conditions that lead to them, where it errs most first."""
    path = before
    if root.condition != "all rows":
        # A later condition on the same side of the same column says all that an earlier one did.
        stem = root.condition.rpartition(" ")[0]
        path = (*(each for each in before if each.rpartition(" ")[0] != stem or " is not " in each), root.condition)
    if not root.children:
        return [(path, root)]
    found = [leaf for child in root.children for leaf in leaves(child, path)]
    return sorted(found, key=lambda leaf: -leaf[1].rate)


def _columns(features: DataFrame) -> tuple[Any, list[tuple[str, str | None]]]:
    import numpy
    from pandas.api.types import is_numeric_dtype

    columns: list[Any] = []
    names: list[tuple[str, str | None]] = []
    for name in features.columns:
        column = features[name]
        if is_numeric_dtype(column):
            columns.append(column.astype(float).fillna(column.median()).to_numpy())
            names.append((str(name), None))
            continue
        for word in column.astype(str).value_counts().index[:_WORDS]:
            columns.append((column.astype(str) == word).to_numpy(dtype=float))
            names.append((str(name), word))
    return numpy.stack(columns, axis=1), names


def _said(name: tuple[str, str | None], threshold: float) -> tuple[str, str]:
    column, word = name
    if word is not None:
        return f"{column} is not {word}", f"{column} is {word}"
    return f"{column} ≤ {threshold:.4g}", f"{column} > {threshold:.4g}"
