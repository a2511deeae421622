from __future__ import annotations

from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample, Score


def scored(answer: str, *assertions: dict[str, Any], threshold: float | None = None, **more: Any) -> Score:
    metadata: dict[str, Any] = {"assert": list(assertions)} | ({} if threshold is None else {"threshold": threshold})
    sample = Sample(number=0, row="", inputs={"city": "Paris"}, answer=answer, metadata=metadata, **more)
    return scorers.get("promptfoo")(sample)


@pytest.mark.parametrize(
    ("answer", "assertion", "value"),
    [
        ("Paris", {"type": "equals", "value": "Paris"}, 1.0),
        ('{"a": 1}', {"type": "equals", "value": {"a": 1}}, 1.0),
        ("It is PARIS", {"type": "contains", "value": "Paris"}, 0.0),
        ("It is PARIS", {"type": "icontains", "value": "{{city}}"}, 1.0),
        ("a b", {"type": "contains-all", "value": ["a", "c"]}, 0.0),
        ("a b", {"type": "contains-any", "value": ["a", "c"]}, 1.0),
        ("a b", {"type": "not-contains-any", "value": ["a", "c"]}, 0.0),
        ("A B", {"type": "icontains-all", "value": ["a", "b"]}, 1.0),
        ("hello", {"type": "starts-with", "value": "hell"}, 1.0),
        ("tel 123", {"type": "regex", "value": r"\d{3}"}, 1.0),
        ("no", {"type": "is-json"}, 0.0),
        ('{"n": 3}', {"type": "is-json", "value": {"required": ["n"]}}, 1.0),
        ('{"m": 3}', {"type": "is-json", "value": {"required": ["n"]}}, 0.0),
        ('so: {"n": 3}.', {"type": "contains-json", "value": {"required": ["n"]}}, 1.0),
        ("one two", {"type": "word-count", "value": {"min": 1, "max": 2}}, 1.0),
        ("one two", {"type": "word-count", "value": 3}, 0.0),
        ("kitten", {"type": "levenshtein", "value": "sitting", "threshold": 3}, 1.0),
        ("kitten", {"type": "levenshtein", "value": "sitting", "threshold": 2}, 0.0),
        ("the cat sat", {"type": "rouge-n", "value": "the cat sat"}, 1.0),
    ],
)
def test_an_assertion_is_judged_as_promptfoo_judges_it(answer: str, assertion: dict[str, Any], value: float) -> None:
    assert scored(answer, assertion).value == value


def test_time_and_cost_are_judged_by_what_the_run_has_measured() -> None:
    fast = {"type": "latency", "threshold": 500}
    assert scored("x", fast, seconds=0.4).value == 1.0
    assert scored("x", fast, seconds=0.6).value == 0.0
    assert scored("x", fast).error == "latency: no latency is known"
    assert scored("x", {"type": "cost", "threshold": 0.1}, cost=0.05).value == 1.0


def test_all_must_hold_and_one_without_weight_only_tells() -> None:
    good, bad = {"type": "equals", "value": "x"}, {"type": "equals", "value": "y"}
    assert scored("x", good, bad).value == 0.0
    assert scored("x", good, bad | {"weight": 0}).value == 1.0


def test_with_a_threshold_the_weighted_mean_decides() -> None:
    good, bad = {"type": "equals", "value": "x", "weight": 3}, {"type": "equals", "value": "y"}
    assert scored("x", good, bad, threshold=0.75).value == 1.0
    assert scored("x", good, bad, threshold=0.8).value == 0.0
    assert scored("x", good, bad, threshold=0.8).details["mean"] == 0.75


def test_a_row_without_assertions_is_an_error() -> None:
    assert scored("x").error == "the row has no assertions"
