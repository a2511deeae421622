"""The report of a model: measured on rows that it has not learnt from, told as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.responsible import balance, counterfactuals, errors, explaining, groups
from finetune.responsible.balance import Balance
from finetune.responsible.counterfactuals import Limits, Otherwise
from finetune.responsible.errors import Node
from finetune.responsible.explaining import Explained
from finetune.responsible.groups import Answers, Intervals, Sensitive
from finetune.tabular import scores, tables
from finetune.tabular.asking import Asked
from finetune.tabular.problems import Problem
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_EXPLAINED = 2000  # rows at most
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the report is about: the target, who might be wronged, the wished-for class, and what cannot change."""

    target: str
    sensitive: tuple[str, ...] = ()
    positive: str = ""
    fixed: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 5  # that counterfactuals are looked for
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was measured. `examples` are rows that were explained one by one: the most wrong ones, and some more."""

    model: str
    data: str
    task: str
    target: str
    positive: Any
    rows: int
    metrics: Mapping[str, float]
    sensitive: tuple[Sensitive, ...]
    balance: Mapping[str, tuple[Balance, ...]]
    errors: Node
    explained: Explained
    examples: tuple[Mapping[str, Any], ...]
    otherwise: tuple[Otherwise, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can say it; what is no number is null."""
        told: dict[str, Any] = asdict(self)
        told["explained"].pop("parts")
        told["explained"].pop("rows")
        plain: dict[str, Any] = json.loads(json.dumps(_finite(told), default=_scalar))
        return plain


def make(asked: Asked, table: DataFrame, question: Question, intervals: Intervals, names: tuple[str, str]) -> Report:
    """Measure a model on a table; `names` are those of the model and of the data."""
    tables.has(table, [question.target, *question.sensitive])
    table = table.dropna(subset=[question.target]).reset_index(drop=True)
    if not len(table):
        raise Invalid(f"no row has a target in {question.target!r}")
    answers, task = answers_of(asked, table, question)
    problem = Problem(task=task, targets=(question.target,))
    chances = asked.chances(table) if task == "classification" else None
    shown = (
        table
        if len(table) <= _EXPLAINED
        else table.sample(_EXPLAINED, random_state=question.seed).reset_index(drop=True)
    )
    explained = explaining.explain(asked, shown, answers.positive, seed=question.seed)
    features = asked.given(table)
    return Report(
        model=names[0], data=names[1], task=task, target=question.target, positive=answers.positive, rows=len(table),
        metrics=scores.measure(problem, table, answers.said.to_numpy(), chances),
        sensitive=groups.measure(answers, table[[*question.sensitive]], intervals) if question.sensitive else (),
        balance={name: balance.measure(answers.true, groups.banded(table[name])) for name in question.sensitive},
        errors=errors.tree(answers, features),
        explained=explained,
        examples=tuple(_examples(asked, shown, question, explained)),
        otherwise=_otherwise(asked, table, question, answers),
    )  # fmt: skip


def answers_of(asked: Asked, table: DataFrame, question: Question) -> tuple[Answers, Any]:
    """Return what is true and said in the same words, and the task that it is."""
    import pandas
    from pandas.api.types import is_float_dtype, is_numeric_dtype

    said = pandas.Series(asked.predict(table).reshape(len(table), -1)[:, 0], table.index)
    true: Series = table[question.target]
    known = asked.about.get("task")
    number = is_float_dtype(said) and is_numeric_dtype(true) and true.nunique() > 10
    if known == "regression" or (known is None and number):
        return Answers(task="regression", true=true.astype(float), said=said.astype(float)), "regression"
    if known not in (None, "classification"):
        raise Invalid(f"a report is made of classifiers and of models of numbers, not of {known}")
    if is_numeric_dtype(true) != is_numeric_dtype(said):
        true, said = true.astype(str), said.astype(str)
    classes = sorted(set(asked.classes) or {*true.unique(), *said.unique()})
    positive = classes[-1] if len(classes) == 2 else None
    if question.positive:
        fitting = [each for each in classes if str(each) == question.positive]
        if not fitting:
            raise Invalid(f"no class {question.positive!r}", hint=f"known: {', '.join(map(str, classes))}")
        positive = fitting[0]
    if positive is not None and hasattr(positive, "item"):
        positive = positive.item()
    return Answers(task="classification", true=true, said=said, positive=positive), "classification"


def _examples(asked: Asked, table: DataFrame, question: Question, explained: Explained) -> list[dict[str, Any]]:
    """Return rows with what moved the answer: the most wrong ones first, then some as they come."""
    answers, _ = answers_of(asked, table, question)
    places = {row: at for at, row in enumerate(explained.rows)}
    if answers.task == "regression":
        off = (answers.said - answers.true).abs()
    else:
        off = (answers.said != answers.true).astype(float)
        chances = asked.chances(table)
        if chances is not None:
            off = off * chances.max(axis=1)
    off = off.loc[[*places]]
    wrong = [int(row) for row in off[off > 0].sort_values(ascending=False).index[:_SHOWN]]
    others = [row for row in places if row not in wrong][:_SHOWN]
    found = []
    for row in (*wrong, *others):
        parts = sorted(explained.parts[places[row]].items(), key=lambda pair: -abs(pair[1]))[:8]
        values = {name: table[name].iloc[row] for name, _ in parts if name in table.columns}
        found.append({"true": answers.true.iloc[row], "said": answers.said.iloc[row], "parts": dict(parts),
                      "values": values})  # fmt: skip
    return found


def _otherwise(asked: Asked, table: DataFrame, question: Question, answers: Answers) -> tuple[Otherwise, ...]:
    if answers.positive is None or not question.rows:
        return ()
    unlucky = answers.said.index[answers.said != answers.positive]
    chosen = table.loc[unlucky].sample(min(question.rows, len(unlucky)), random_state=question.seed).index
    fixed = tuple(dict.fromkeys([*question.fixed, *question.sensitive]))
    limits = Limits(fixed=fixed, only=question.only)
    return counterfactuals.search(asked, table, [int(row) for row in chosen], answers.positive, limits)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
