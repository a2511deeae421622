"""MLflow's scorers among ours, and ours among MLflow's; MLflow is imported when one is used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from evals.samples import Sample, Score, as_text, row_id
from evals.scorers import registry
from evals.scorers.registry import Means, Scorer
from workspace.errors import Invalid, MissingExtra, NotFound, did_you_mean

_WORDS = {"yes": 1.0, "pass": 1.0, "true": 1.0, "no": 0.0, "fail": 0.0, "false": 0.0}


def by_name(name: str, settings: Mapping[str, Any]) -> Scorer:
    """Return the scorer of that name in `mlflow.genai.scorers`, with the settings that its class takes.

    One that asks a model asks the one that MLflow is told of: `model: openai:/NAME`, with MLflow's own variables.
    """
    genai = _genai()
    made = getattr(genai, name, None) if name[:1].isupper() else None
    if not (isinstance(made, type) and issubclass(made, genai.Scorer)):
        known = [each for each in genai.__all__ if each[:1].isupper()]
        raise NotFound(f"MLflow has no scorer {name!r}", hint=did_you_mean(name, known))
    try:
        return wrapped(made(**settings))
    except (TypeError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise Invalid(f"MLflow's {name} does not take these settings: {first}") from None


def wrapped(scorer: Any) -> Scorer:
    """Return a scorer of ours that calls one of MLflow's, made by its class or by `@mlflow.genai.scorer`.

    Its "yes" is 1 and its "no" is 0; what it says in other words, or not at all, is an error. Several assessments are
    their mean, each kept in the details.
    """

    def score(sample: Sample) -> Score:
        expectations = {**sample.metadata.get("expectations", {})}
        if sample.expected is not None:
            expectations.setdefault("expected_response", sample.expected)
        try:
            said = scorer.run(inputs=dict(sample.inputs), outputs=sample.answer, expectations=expectations or None)
        except Exception as error:  # noqa: BLE001 - MLflow's judges raise whatever their model's client does
            return Score(error=f"MLflow's {scorer.name} failed: {type(error).__name__}: {str(error)[:300]}")
        return as_score(said)

    return score


def as_score(said: Any) -> Score:
    """Read what a scorer of MLflow's has returned: a value, a Feedback, or several of them."""
    if isinstance(said, list):
        each = [as_score(one) for one in said]
        missing = next(
            (one.error for one in each if one.value is None), None if each else "MLflow's scorer said nothing"
        )
        if missing is not None:
            return Score(error=missing)
        names = [str(getattr(one, "name", number)) for number, one in enumerate(said)]
        values = [one.value or 0.0 for one in each]
        return Score(value=sum(values) / len(values), details=dict(zip(names, values, strict=True)))
    details = {}
    if (reason := getattr(said, "rationale", None)) is not None:
        details["reason"] = str(reason)
    if (source := getattr(said, "source", None)) is not None:
        details["model"] = str(source.source_id)
    if (mistake := getattr(said, "error", None)) is not None:
        return Score(error=f"MLflow's scorer failed: {mistake}", details=details)
    value = getattr(said, "value", said)
    value = getattr(value, "value", value)  # of its enumeration of yes and no
    if isinstance(value, str):
        value = _WORDS.get(value.strip().casefold(), value)
    if not isinstance(value, int | float):
        return Score(error=f"MLflow's scorer said {value!r}, which is no number", details=details)
    return Score(value=float(value), details=details)


def as_mlflow(name: str, *, means: Means | None = None, **settings: Any) -> Any:
    """Return a scorer of ours for `mlflow.genai.evaluate`: `as_mlflow("normalized")`.

    What is expected is `expected_response` of the expectations. A row that cannot be scored is an error there too.
    """
    from mlflow.entities import AssessmentSource, Feedback

    ours = registry.get(name, means=means, **settings)

    def score(inputs: Any = None, outputs: Any = None, expectations: Mapping[str, Any] | None = None) -> Any:
        known = dict(expectations or {})
        wanted = known.get("expected_response")
        given = inputs if isinstance(inputs, Mapping) else {"input": inputs}
        sample = Sample(
            number=0, row="", inputs=given, answer=None if outputs is None else as_text(outputs),
            expected=None if wanted is None else as_text(wanted), metadata={**given, **known},
        )  # fmt: skip
        found = ours(sample)
        source = AssessmentSource(source_type="CODE", source_id=f"studiolo.{name}")
        if found.value is None:
            return Feedback(name=label, error=ValueError(found.error), source=source)
        told = json.dumps(dict(found.details), default=str) if found.details else None
        return Feedback(name=label, value=found.value, rationale=told, source=source)

    label = re.sub(r"\W", "_", name)
    return _genai().scorer(score, name=label)


def results(evaluated: Any) -> list[Sample]:
    """Return what `mlflow.genai.evaluate` has found as samples, for comparing and gating like any others."""
    if evaluated.result_df is None:
        raise Invalid("this evaluation has no rows", hint="evaluate data first")
    return [_sample(number, row) for number, row in enumerate(evaluated.result_df.to_dict("records"))]


def _sample(number: int, row: Mapping[str, Any]) -> Sample:
    asked = row.get("request")
    inputs = asked if isinstance(asked, Mapping) else {"input": asked}
    scores: dict[str, Score] = {}
    expected = None
    for each in row.get("assessments") or ():
        name = str(each["assessment_name"])
        if (feedback := each.get("feedback")) is not None:
            mistake = feedback.get("error")
            scores[name] = (
                Score(error=f"MLflow's scorer failed: {mistake}") if mistake else as_score(feedback.get("value"))
            )
        elif name == "expected_response":
            expected = as_text(each["expectation"]["value"])
    answer = None if row.get("response") is None else as_text(row["response"])
    return Sample(number=number, row=row_id(inputs), inputs=inputs, answer=answer, expected=expected, scores=scores)


def _genai() -> Any:
    try:
        import mlflow.genai.scorers
    except ImportError:
        raise MissingExtra("MLflow's scorers come with mlflow", hint="pip install 'studiolo[studio]'") from None
    return mlflow.genai.scorers
