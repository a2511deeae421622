"""What is to be learnt of a table, and what speaks against it: said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from finetune.tabular import tables
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Task = Literal["classification", "regression", "multilabel", "ranking", "forecasting"]
TASKS: tuple[Task, ...] = ("classification", "regression", "multilabel", "ranking", "forecasting")
MANY_CLASSES = 1000
MANY_VALUES = 0.5  # of the rows: a column of words with more differing values than that names the rows
LEAK = 0.995  # how well one column alone may predict before it is told of
LOOKED_AT = 5000  # rows, for leaks
DATES = 0.95  # of the values must be dates


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is to be learnt: `Problem(task="classification", targets=("income",))`.

    `group` is the query that rows are ranked within, `weight` a column of weights; neither is a feature.
    """

    task: Task
    targets: tuple[str, ...]
    group: str = ""
    weight: str = ""
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise Invalid(f"no task {self.task!r}", hint=f"known: {', '.join(TASKS)}")
        if not self.targets:
            raise Invalid("no target is named", hint="--target COLUMN")
        if len(self.targets) > 1 and self.task != "multilabel":
            raise Invalid(f"{self.task} has one target, not {len(self.targets)}", hint="multilabel has several")
        if self.task == "ranking" and not self.group:
            raise Invalid("ranking needs the column that says which rows belong together", hint="--group COLUMN")

    @property
    def target(self) -> str:
        """The one target."""
        return self.targets[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a column that a person should know before trusting the model."""

    column: str
    what: str

    def __str__(self) -> str:
        return f"{self.column}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The rows that can be learnt from, the columns of each kind, and what was found."""

    rows: DataFrame
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that a model is given."""
        return self.numbers + self.categories


def look(table: DataFrame, problem: Problem) -> Looked:
    """Look at a table before it is learnt from; what cannot work is refused, what may surprise is a finding.

    Columns that hold one value, dates as text or a name of each row are left out, and that is said.
    """
    own = [*problem.targets, *filter(None, (problem.group, problem.weight))]
    tables.has(table, [*own, *problem.leave_out])
    findings: list[Finding] = []
    rows = table.dropna(subset=list(problem.targets)).reset_index(drop=True)
    if gone := len(table) - len(rows):
        findings.append(Finding(problem.target, f"{gone:,} rows without a target are left out"))
    if not len(rows):
        raise Invalid(f"no row has a target in {problem.target!r}", hint="is this the right column?")
    findings += of_targets(rows, problem)
    numbers, categories = [], []
    for name in rows.columns:
        if name in own or name in problem.leave_out:
            continue
        kind, told = _kind(rows[name])
        findings += [Finding(str(name), told)] if told else []
        if kind == "number":
            numbers.append(str(name))
        elif kind == "category":
            categories.append(str(name))
    if not numbers and not categories:
        told = "; ".join(map(str, findings))
        raise Invalid(
            f"no column is left to learn from: {told}", hint="the component encode_columns makes numbers of them"
        )
    found = Looked(
        rows=plain(rows, numbers, categories), numbers=tuple(numbers), categories=tuple(categories), findings=()
    )
    if problem.task in ("classification", "regression"):
        findings += leaks(found, problem)
    return replace(found, findings=tuple(findings))


def leaks(looked: Looked, problem: Problem) -> list[Finding]:
    """Return the columns that know the target by themselves, which no honest feature does."""
    import numpy
    from sklearn.model_selection import cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = looked.rows if len(looked.rows) <= LOOKED_AT else looked.rows.sample(LOOKED_AT, random_state=0)
    target = rows[problem.target]
    if len(rows) < 50:
        return []
    is_class = problem.task == "classification"
    if is_class:
        counts = target.value_counts()
        rows = rows[target.isin(counts[counts >= 3].index[:100])]
        target = rows[problem.target].astype(str)
        if target.nunique() < 2:
            return []
    found = []
    for name in looked.features:
        column = rows[name]
        values = column if name in looked.numbers else column.astype(str).astype("category").cat.codes
        if name in looked.categories and column.nunique() > 100:
            continue
        given = numpy.asarray(values, dtype=float).reshape(-1, 1)
        tree: Any = DecisionTreeClassifier(max_depth=8) if is_class else DecisionTreeRegressor(max_leaf_nodes=256)
        guessed = cross_val_predict(tree, given, target, cv=3)
        if _agree(target, guessed, is_class=is_class) >= LEAK:
            what = f"it alone predicts {problem.target!r} almost perfectly: does it hold the answer? leave it out if so"
            found.append(Finding(name, what))
    return found


def _agree(target: Series, guessed: Any, *, is_class: bool) -> float:
    from sklearn.metrics import balanced_accuracy_score, r2_score

    return float((balanced_accuracy_score if is_class else r2_score)(target, guessed))


def of_targets(rows: DataFrame, problem: Problem) -> list[Finding]:
    """Return what is to be said of targets; those that nothing can be learnt of are refused."""
    import numpy
    from pandas.api.types import is_numeric_dtype

    findings = []
    for name in problem.targets:
        target = rows[name]
        values = target.nunique()
        if problem.task in ("regression", "ranking"):
            if not is_numeric_dtype(target):
                hint = "learn a classification, or make numbers of it"
                raise Invalid(f"{problem.task} needs numbers, {name!r} holds {target.iloc[0]!r}", hint=hint)
            if not numpy.isfinite(target.to_numpy(dtype=float)).all():
                raise Invalid(f"{name!r} holds values that are not finite", hint="the component clean_rows drops them")
        if values == 1:
            only = target.iloc[0]
            what = "class" if problem.task in ("classification", "multilabel") else "value"
            hint = "nothing can be learnt from that: are rows of the others missing?"
            raise Invalid(f"{name!r} has one {what} in all {len(rows):,} rows: {only!r}", hint=hint)
        if problem.task == "classification":
            findings += _of_classes(target, name)
    return findings


def _of_classes(target: Series, name: str) -> list[Finding]:
    from pandas.api.types import is_float_dtype

    counts, found = target.value_counts(), []
    if is_float_dtype(target) and len(counts) > len(target) / 2:
        hint = "learn a regression"
        raise Invalid(f"{name!r} has {len(counts):,} differing numbers in {len(target):,} rows: no classes", hint=hint)
    if len(counts) >= MANY_CLASSES:
        told = (
            f"{len(counts):,} classes: boosted trees build one tree a class and round; scikit-learn's linear is quicker"
        )
        found.append(Finding(name, told))
    if rare := [str(each) for each, count in counts.items() if count < 2]:
        more = ", …" if len(rare) > 5 else ""
        found.append(Finding(name, f"{len(rare):,} classes have a single row: {', '.join(rare[:5])}{more}"))
    return found


def _kind(column: Series) -> tuple[str, str]:
    """Return what a column is, and what to say of it."""
    import pandas
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    there = column.dropna()
    if not len(there):
        return "none", "it is empty: left out"
    if there.map(lambda value: isinstance(value, dict | list)).any():
        return "none", "it holds lists or mappings: left out"
    values = there.nunique()
    if values == 1 and len(there) == len(column):
        return "none", f"it is {there.iloc[0]} in every row: left out"
    if is_numeric_dtype(column) or is_bool_dtype(column):
        return "number", ""
    if is_datetime64_any_dtype(column) or are_dates(there):
        told = "dates" if is_datetime64_any_dtype(column) else "dates as text"
        return "none", f"it holds {told}: left out; the component encode_columns makes numbers of them"
    if numbers := int(pandas.to_numeric(there, errors="coerce").notna().sum()):
        share = numbers / len(there)
        if share >= DATES:
            wrong = there[pandas.to_numeric(there, errors="coerce").isna()]
            told = (
                f"{len(wrong):,} values are no numbers ({wrong.iloc[0]!r}): they count as missing" if len(wrong) else ""
            )
            return "number", told
    if values > MANY_VALUES * len(there) and values > 50:
        return "none", f"{values:,} of {len(there):,} values differ: it names the rows, or is text; left out"
    return "category", ""


def are_dates(there: Series) -> bool:
    """Whether values are dates, written as text."""
    import pandas

    first = there.head(200).astype(str)
    if not first.str.contains(r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", regex=True).mean() >= DATES:
        return False
    return bool(pandas.to_datetime(first, errors="coerce", format="mixed").notna().mean() >= DATES)


def plain(rows: DataFrame, numbers: Sequence[str], categories: Sequence[str]) -> DataFrame:
    """Return the rows with all numbers as floats, missing ones among them, and all categories as text."""
    import pandas

    found = rows.copy()
    for name in numbers:
        column = found[name].astype(object) if found[name].dtype == bool else found[name]
        found[name] = pandas.to_numeric(column, errors="coerce").astype(float)
    for name in categories:
        there = found[name].notna()
        found[name] = found[name].astype(str).astype(object).where(there, None)
    return found
