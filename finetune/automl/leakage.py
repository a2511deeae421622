"""Columns that give the target away: one that alone predicts nearly every row is seldom known when it matters."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from finetune.automl.columns import CATEGORY, NUMERIC
from finetune.automl.featurizer import Plan

NEARLY = 0.995  # of balanced accuracy, or of R²
_LOOKED_AT = 3000
_LEAVES = 64


def leaks(prepared: Any, target: Any, plan: Plan, *, classes: int) -> list[str]:
    """Return a warning for each such column."""
    if target.ndim > 1 or classes > _LEAVES:
        return []
    places = np.random.default_rng(0).permutation(len(target))[:_LOOKED_AT]
    truth = target[places]
    if classes and np.bincount(truth, minlength=classes).min() < 3:
        return []
    found = []
    for name in [*plan.names(NUMERIC), *plan.names(CATEGORY)]:
        column = prepared[[name]].iloc[places]
        if column[name].dtype == object:
            column = OrdinalEncoder().fit_transform(column)
        known = np.nan_to_num(np.asarray(column, dtype=float), nan=-1e30)
        tree = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(max_leaf_nodes=_LEAVES, random_state=0)
        guessed = cross_val_predict(tree, known, truth, cv=3)
        score = balanced_accuracy_score(truth, guessed) if classes else r2_score(truth, guessed)
        if score >= NEARLY:
            found.append(
                f"the column {name!r} alone predicts the target nearly always ({score:.1%}): "
                "if it is not known before the target is, leave it out"
            )
    return found
