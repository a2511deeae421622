"""Texts by their words: tf-idf and a line, which is quick, and hard to beat by more than a little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.tabular import scores, tables
from finetune.tabular.problems import Finding, Looked, Problem, of_targets
from finetune.tabular.training import Trained
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame


def train(
    table: DataFrame, problem: Problem, text: str, *, strength: float = 4.0, held_out: DataFrame | None = None
) -> Trained:
    """Learn the class of texts: `train(table, Problem(task="classification", targets=("intent",)), "question")`.

    Single words and pairs count, and for odd spellings pieces of words.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    if problem.task != "classification":
        raise Invalid(f"texts are classified, not {problem.task}", hint="task: classification")
    tables.has(table, [text, problem.target])
    rows = table.dropna(subset=[text, problem.target]).reset_index(drop=True)
    if not len(rows):
        raise Invalid(f"no row has both {text!r} and {problem.target!r}")
    findings = of_targets(rows, problem)
    if gone := len(table) - len(rows):
        findings.append(Finding(text, f"{gone:,} rows without text or target are left out"))
    rows[text] = rows[text].astype(str).astype(object)
    looked = Looked(rows=rows, numbers=(), categories=(text,), findings=tuple(findings))
    parts: list[Any] = [
        ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), text),
        (
            "pieces",
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, max_features=50_000),
            text,
        ),
    ]
    model = Pipeline([("prepare", ColumnTransformer(parts)), ("learn", LogisticRegression(C=strength, max_iter=1000))])
    try:
        model.fit(rows[[text]], rows[problem.target])
    except ValueError as error:
        raise Invalid(f"nothing can be learnt of these texts: {error}") from None
    seen = rows if held_out is None else held_out.dropna(subset=[text])
    said, chances = model.predict(seen[[text]]), model.predict_proba(seen[[text]])
    measured = scores.measure(problem, seen, said, chances)
    return Trained(model=model, problem=problem, looked=looked, metrics=measured)
