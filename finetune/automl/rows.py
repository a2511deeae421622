"""The rows of a search: a table is looked at once, refused where nothing can be learned, and cut for validation."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from finetune.automl.featurizer import Plan, plan_of, prepare
from finetune.automl.wanted import REGRESSION, TEXT, Wanted
from workspace.errors import Invalid

Numbers = Any
Part = tuple[Numbers, Numbers]  # places of rows: those that are learned from, those that are held against
FEW, SOME, MANY = 1000, 20_000, 100_000
IMBALANCED = 0.2  # the rarest class against the most frequent
FEWEST = 10  # rows
_NUMBERS = 0.95
_READERS = {
    ".csv": pd.read_csv, ".tsv": lambda path: pd.read_csv(path, sep="\t"), ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True), ".json": pd.read_json,
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Rows:
    """What all trials see. `parts` are those of cross-validation; `learned` what the model is made of in the end."""

    wanted: Wanted
    plan: Plan
    frame: Any  # as it came, without target and weights
    prepared: Any
    target: Numbers  # places of classes, numbers, or a column of 0 and 1 for each label
    classes: list[Any]
    weights: Numbers | None
    parts: list[Part]
    learned: Numbers
    span: float
    notes: list[str] = field(default_factory=list)
    imbalance: float = 1.0

    @property
    def several(self) -> bool:
        """Whether a row may have several labels."""
        return bool(self.target.ndim > 1)

    @property
    def held(self) -> list[Numbers]:
        """The rows that each part is held against."""
        return [valid for _, valid in self.parts]


def read_table(place: Path) -> Any:
    """Return the table of a file or a folder: an MLTable, or a file whose ending says how it is read."""
    from jobs.data import tables

    if tables.file_in(place) is not None:
        return tables.read(place)
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    known = [(path, _reader(path)) for path in files]
    readable = [(path, reader) for path, reader in known if reader]
    if not readable:
        hint = f"an MLTable, or files that end in {', '.join(_READERS)}"
        raise Invalid(f"{place.name} holds no table that can be read", hint=hint)
    try:
        frames = [reader(path) for path, reader in readable if path.stat().st_size]
    except (ValueError, OSError) as problem:
        raise Invalid(f"{readable[0][0].name} cannot be read as a table: {problem}") from None
    if not frames:
        raise Invalid(f"{place.name} is empty: there is nothing to learn from")
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _reader(path: Path) -> Any:
    endings = [ending.lower() for ending in path.suffixes]
    return next((_READERS[ending] for ending in reversed(endings) if ending in _READERS), None)


def rows_of(table: Any, wanted: Wanted, *, validation: Any = None) -> Rows:
    """Return the rows of a search over a table; Invalid where nothing can be learned from it."""
    notes: list[str] = []
    held = 0
    table = _checked(table, wanted, notes)
    if validation is not None:
        checked = _checked(validation, wanted, notes)
        held = len(checked)
        table = pd.concat([table, checked], ignore_index=True)
    target, classes = target_of(table[wanted.target], wanted)
    weights = _weights(table, wanted)
    apart = [wanted.target, *wanted.split_columns, *([wanted.weight] if wanted.weight else [])]
    frame = table.drop(columns=apart)
    if not len(frame.columns):
        raise Invalid("the table has no column beside its target", hint="give columns to learn from")
    learned_from = frame.iloc[: len(frame) - held]
    plan = plan_of(learned_from, wanted.columns, classes=len(classes) if target.ndim == 1 else 0)
    parts = _parts(table, target, wanted, held=held)
    rows = Rows(
        wanted=wanted, plan=plan, frame=frame, prepared=None, target=target, classes=classes, weights=weights,
        parts=parts, learned=np.arange(len(frame) - held), span=_span(target), notes=notes,
    )  # fmt: skip
    if classes and target.ndim == 1:
        _tell_of_classes(rows)
    return rows


def embeds(rows: Rows) -> bool:
    """Whether texts are also taken as vectors."""
    return (
        (rows.wanted.columns.embeds or rows.wanted.task in TEXT)
        and "word_embedding" not in rows.wanted.columns.blocked
        and bool(rows.plan.names("text"))
    )


def prepared(rows: Rows) -> Any:
    """Return the columns of all rows that are learned from."""
    return prepare(rows.frame, rows.plan, embeds=embeds(rows))


def target_of(values: Any, wanted: Wanted) -> tuple[Numbers, list[Any]]:
    """Return the target as numbers, and its classes or labels in their order."""
    if wanted.task == "text_classification_multilabel":
        return _labels(values)
    if not wanted.classifies:
        numbers = pd.to_numeric(values, errors="coerce")
        if bad := int(numbers.isna().sum()):
            example = values[numbers.isna()].iloc[0]
            hint = "for words, the task is classification"
            raise Invalid(f"{bad:,} of {len(values):,} values of {wanted.target!r} are no numbers, such as {example!r}",
                          hint=hint)  # fmt: skip
        if numbers.nunique() < 2:
            raise Invalid(f"the target {wanted.target!r} has the same value in every row: nothing can be learned")
        return numbers.to_numpy(dtype=float), []
    if pd.api.types.is_float_dtype(values) and (values % 1 != 0).any() and values.nunique() > FEW:
        hint = f"task: {REGRESSION}"
        raise Invalid(f"the target {wanted.target!r} has {values.nunique():,} different numbers: no classes", hint=hint)
    plain = values.map(class_of)
    counted = plain.value_counts()
    if len(counted) < 2:
        raise Invalid(
            f"the target {wanted.target!r} has one class only, {counted.index[0]!r}: nothing can be told apart",
            hint="give rows of at least two classes",
        )
    classes = sorted(counted.index.tolist(), key=lambda each: (isinstance(each, str), each))
    if wanted.positive and len(classes) == 2:
        if wanted.positive not in [str(each) for each in classes]:
            raise Invalid(f"`positive_label` is {wanted.positive!r}, and the classes are {classes!r}")
        classes.sort(key=lambda each: str(each) == wanted.positive)
    place = {each: number for number, each in enumerate(classes)}
    return plain.map(place).to_numpy(dtype=np.int64), classes


def class_of(value: Any) -> Any:
    """Return a class as JSON writes it: true, 3 and "yes"; whole numbers that came as floats are whole."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return int(value) if float(value).is_integer() else float(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return str(value)


def _labels(values: Any) -> tuple[Numbers, list[Any]]:
    """Read several labels a row: `['a', 'b']` or `a,b`."""
    sets = [_set(value) for value in values]
    labels = sorted(set().union(*sets))
    if not labels:
        raise Invalid("no row has a label", hint="labels are written as ['a', 'b'] or a,b")
    return labelled(values, labels), labels


def labelled(values: Any, labels: list[Any]) -> Numbers:
    """Return a column of 0 and 1 for each label."""
    sets = [_set(value) for value in values]
    return np.array([[label in each for label in labels] for each in sets], dtype=np.int64)


def _set(value: Any) -> set[str]:
    if isinstance(value, list | tuple | np.ndarray):
        return {str(each) for each in value}
    text = str(value).strip()
    if text.startswith("["):
        try:
            return {str(each) for each in ast.literal_eval(text)}
        except (ValueError, SyntaxError):
            raise Invalid(f"labels cannot be read: {text[:80]!r}", hint="['a', 'b'] or a,b") from None
    return {each.strip() for each in text.split(",") if each.strip()}


def _checked(table: Any, wanted: Wanted, notes: list[str]) -> Any:
    """Return a table whose rows have a target."""
    table = table.rename(columns=str)
    for name in (wanted.target, wanted.weight, *wanted.split_columns):
        if name and name not in table.columns:
            hint = f"its columns are {', '.join(table.columns[:20])}"
            raise Invalid(f"the table has no column {name!r}", hint=hint)
    if twice := sorted(set(table.columns[table.columns.duplicated()])):
        raise Invalid(f"the table has more than one column {twice[0]!r}")
    if not len(table):
        raise Invalid("the table has no row: there is nothing to learn from")
    without = table[wanted.target].isna()
    if without.all():
        raise Invalid(f"no row has a value of the target {wanted.target!r}")
    if without.any():
        notes.append(f"{int(without.sum()):,} rows without a target were left out")
    table = table[~without].reset_index(drop=True)
    if len(table) < FEWEST:
        raise Invalid(f"{len(table)} rows are too few to learn from and to validate", hint=f"give {FEWEST} or more")
    return table


def _weights(table: Any, wanted: Wanted) -> Numbers | None:
    if not wanted.weight:
        return None
    found = pd.to_numeric(table[wanted.weight], errors="coerce").to_numpy(dtype=float)
    if not (np.isfinite(found).all() and (found >= 0).all() and found.sum() > 0):
        raise Invalid(f"the weights in {wanted.weight!r} must be numbers of 0 or more")
    return found


def _span(target: Numbers) -> float:
    return float(np.ptp(target)) or 1.0


def _parts(table: Any, target: Numbers, wanted: Wanted, *, held: int) -> list[Part]:
    count = len(table)
    everything = np.arange(count)
    if held:
        return [(everything[: count - held], everything[count - held :])]
    if wanted.split_columns:
        return [_by_column(table[name].to_numpy(), name) for name in wanted.split_columns]
    strata = _strata(target, wanted)
    if wanted.holdout or (not wanted.folds and count > MANY):
        train, valid = train_test_split(
            everything, test_size=wanted.holdout or 0.1, random_state=wanted.seed, stratify=strata
        )
        return [(np.sort(train), np.sort(valid))]
    folds = wanted.folds or (10 if count <= FEW else 5 if count <= SOME else 3)
    if folds < 2 or folds > count:
        raise Invalid(f"`n_cross_validations` cannot be {folds} of {count:,} rows", hint="2 to 10")
    if strata is None:
        return list(KFold(folds, shuffle=True, random_state=wanted.seed).split(everything))
    return list(StratifiedKFold(folds, shuffle=True, random_state=wanted.seed).split(everything, strata))


def _by_column(said: Numbers, name: str) -> Part:
    train, valid = np.flatnonzero(said == 1), np.flatnonzero(said == 0)
    if not len(train) or not len(valid):
        raise Invalid(f"the column {name!r} of `cv_split_column_names` must have rows of 1 and of 0")
    return train, valid


def _strata(target: Numbers, wanted: Wanted) -> Numbers | None:
    """Return what each part must have a share of: classes; the rare ones together."""
    if not wanted.classifies or target.ndim > 1:
        return None
    counts = np.bincount(target)
    folds = max(wanted.folds, 10)
    rare = counts < folds
    merged = np.where(rare[target], -1, target)
    return None if 0 < int(rare[target].sum()) < folds else merged


def _tell_of_classes(rows: Rows) -> None:
    counts = np.bincount(rows.target, minlength=len(rows.classes))
    rows.imbalance = float(counts.min() / counts.max())
    rarest = rows.classes[int(counts.argmin())]
    if rows.imbalance <= IMBALANCED:
        rows.notes.append(
            f"the classes are imbalanced: {rarest!r} has {counts.min():,} rows, the most frequent {counts.max():,}; "
            "models with balanced weights are tried too"
        )
    if alone := int((counts == 1).sum()):
        rows.notes.append(f"{alone:,} classes have one row only, and cannot be validated")


def suspicious(rows: Rows) -> list[str]:
    """Return a warning for each column that alone tells the target nearly always: it may not be known in time."""
    from finetune.automl.leakage import leaks

    return leaks(rows.prepared, rows.target, rows.plan, classes=len(rows.classes))
