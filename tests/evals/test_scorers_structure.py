from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import scorers
from evals.samples import Sample, Score
from evals.scorers.structure import calls_of, parsed
from workspace.errors import Invalid, NotFound

PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)


def scored(name: str, answer: Any, expected: Any = None, *, outputs: Any = None, **settings: Any) -> Score:
    answer, expected = (
        each if each is None or isinstance(each, str) else json.dumps(each) for each in (answer, expected)
    )
    made = Sample(number=0, row="", inputs={}, answer=answer, expected=expected, outputs=outputs or {})
    return scorers.get(name, **settings)(made)


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        ('{"age": 3}', None),
        ('```json\n{"age": 3}\n```', None),
        ('{"age": -1}', "$.age: -1 is less than the minimum of 0"),
        ("{}", "$: 'age' is a required property"),
        ("three", "no JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"age": NaN}', "no JSON: NaN is no JSON"),
    ],
)
def test_an_answer_is_checked_against_a_schema_and_its_first_mistake_is_told(answer: str, mistake: str | None) -> None:
    score = scored("json_schema", answer, schema=PERSON)
    assert score.value == float(mistake is None)
    assert score.details.get("mistake") == mistake


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        ({"x-a": 1}, None),
        ({"x-a": "one"}, "$['x-a']: 'one' is not of type 'integer'"),
        ({"y": 1}, "$: Additional properties are not allowed ('y' was unexpected)"),
        ({"code": "ab"}, "$.code: 'ab' does not match '^[0-9]+$'"),
    ],
)
def test_patterns_of_a_schema_mean_what_they_mean_elsewhere(answer: dict[str, object], mistake: str | None) -> None:
    schema = {
        "properties": {"code": {"pattern": "^[0-9]+$"}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": False,
    }
    score = scored("json_schema", json.dumps(answer), schema=schema)
    assert score.details.get("mistake") == mistake


def test_a_pattern_of_a_schema_that_never_ends_is_an_error_of_its_row() -> None:
    with pytest.raises(TimeoutError, match="takes longer than"):
        scored("json_schema", json.dumps("a" * 40 + "!"), schema={"pattern": "^(a|a)+$"}, seconds=0.2)


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="the schema is none"):
        scorers.get("json_schema", schema={"type": "whole"})


def test_fields_are_matched_down_to_the_leaves() -> None:
    wanted = {"name": "Ada", "born": {"year": 1815, "place": "London"}, "tags": ["x", "y"]}
    found = {"name": "Ada", "born": {"year": 1815.0, "place": "Paris"}, "tags": ["x"], "more": 1}
    score = scored("json_match", found, wanted)
    assert score.value == pytest.approx(3 / 5)
    assert score.details["wrong"] == ["born.place", "tags.1"]
    assert scored("json_match", found, wanted, fields=["name", "born.year"]).value == 1.0
    assert scored("json_match", found, wanted, extra="wrong").value == pytest.approx(1 - 3 / 6)


def test_true_is_no_one_and_an_unknown_field_is_an_error() -> None:
    assert scored("json_match", {"a": 1}, {"a": True}).value == 0.0
    assert scored("json_match", {"a": 1.05}, {"a": 1}, tolerance=0.1).value == 1.0
    assert "no 'b'" in str(scored("json_match", {"a": 1}, {"a": 1}, fields=["b"]).error)


@given(JSON)
def test_every_json_matches_itself(value: Any) -> None:
    assert scored("json_match", json.dumps(value), json.dumps(value)).value == 1.0


@given(st.text(max_size=50))
def test_any_text_is_read_as_json_or_refused_in_words(text: str) -> None:
    value, mistake = parsed(text)
    assert (mistake is None) or value is None


def test_json_that_is_too_deep_is_refused() -> None:
    assert parsed("[" * 100_000)[1] is not None


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("found", "settings", "value"),
    [
        ([call("find", q="cat"), call("open", n=1)], {}, 1.0),
        ([call("open", n=1), call("find", q="cat")], {}, 0.0),
        ([call("open", n=1), call("find", q="cat")], {"order": "any"}, 1.0),
        ([call("find", q="cat"), call("look"), call("open", n=1)], {}, 0.0),
        ([call("find", q="cat"), call("look"), call("open", n=1)], {"extra": "allowed"}, 1.0),
        ([call("find", q="cat", page=2), call("open", n=1)], {}, 0.0),
        ([call("find", q="cat", page=2), call("open", n=1)], {"arguments": "subset"}, 1.0),
        ([call("find", q="dog"), call("open", n=9)], {"arguments": "ignored"}, 1.0),
        ([call("find", q="cat")], {}, 0.0),
        ([], {}, 0.0),
    ],
)
def test_calls_of_tools_are_matched_by_name_arguments_and_order(found: Any, settings: Any, value: float) -> None:
    wanted = [call("find", q="cat"), call("open", n=1)]
    assert scored("tool_calls", "", wanted, outputs={"tool_calls": found}, **settings).value == value


def test_calls_in_any_order_are_paired_so_that_as_many_fit_as_can() -> None:
    wanted = [call("f"), call("f", a=1)]
    found = [call("f", a=1), call("f", b=2)]
    assert scored("tool_calls", found, wanted, order="any", arguments="subset").value == 1.0


def test_the_calls_of_openai_are_read() -> None:
    given = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": "cat"}'}}]
    assert scored("tool_calls", "", [call("find", q="cat")], outputs={"tool_calls": given}).value == 1.0
    given[0]["function"]["arguments"] = "{q: cat"  # type: ignore[index]
    score = scored("tool_calls", "", [call("find", q="cat")], outputs={"tool_calls": given})
    assert score.value == 0.0
    assert "the arguments of 'find'" in score.details["mistake"]


def test_an_answer_in_words_calls_no_tool() -> None:
    assert scored("tool_calls", "It is sunny.", []).value == 1.0
    assert scored("tool_calls", "It is sunny.", [call("weather")]).value == 0.0


@given(JSON)
def test_whatever_is_given_for_calls_is_read_or_refused_in_words(value: Any) -> None:
    calls, mistake = calls_of(json.dumps(value))
    assert mistake is None or calls == []


def test_a_schema_is_read_from_a_file_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "person.json"
    path.write_text(json.dumps(PERSON))
    assert scored("json_schema", '{"age": 3}', schema=str(path)).value == 1.0
    with pytest.raises(NotFound, match="no schema"):
        scorers.get("json_schema", schema=str(tmp_path / "no.json"))
