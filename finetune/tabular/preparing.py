"""From columns to numbers, inside the model: missing values, sizes, words that were seen and words that were not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.tabular.problems import Looked

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

MISSING = "missing"
MOST_WORDS = 100  # of one column have a column of their own; rarer ones share one
RARE = 0.002  # of the rows


def for_lines(looked: Looked) -> ColumnTransformer:
    """Return the preparation for models that weigh and add: numbers scaled, each word a column, unseen ones none."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=MISSING, missing_values=None),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MOST_WORDS, sparse_output=False),
    )
    return _joined(looked, numbers, words)


def for_trees(looked: Looked) -> ColumnTransformer:
    """Return the preparation for trees, which split missing numbers themselves: words are numbered, unseen ones -1."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=MISSING, missing_values=None),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    return _joined(looked, "passthrough", words)


def _joined(looked: Looked, numbers: Any, words: Any) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer

    parts = [("numbers", numbers, list(looked.numbers)), ("words", words, list(looked.categories))]
    return ColumnTransformer([part for part in parts if part[2]], verbose_feature_names_out=False)
