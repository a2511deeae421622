"""Scorers of answers that are data: JSON by a schema or field by field, and the calls of tools."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from evals.samples import Sample, Score
from evals.scorers.patterns import SECONDS
from evals.scorers.registry import Scorer, scorer, scorer_maker
from workspace.errors import Invalid, MissingExtra, NotFound

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


@scorer_maker("json_schema", needs=("jsonschema",))
def json_schema(*, schema: Mapping[str, Any] | str, seconds: float = SECONDS) -> Scorer:
    """1.0 when the answer is JSON that the schema allows; the first mistake is told.

    A pattern of the schema that needs longer than so many `seconds` for a text is an error of that row.
    """
    try:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for

        from evals.scorers.schema_patterns import in_bounded_time
    except ImportError:
        raise MissingExtra("schemas are checked by jsonschema", hint="pip install 'studiolo[evals]'") from None
    wanted = _schema(schema)
    kind = validator_for(wanted)
    try:
        kind.check_schema(wanted)
    except SchemaError as error:
        raise Invalid(f"the schema is none: {error.message}", hint="see json-schema.org") from None
    validator = in_bounded_time(kind, seconds)(wanted)

    def score(sample: Sample) -> Score:
        if sample.answer is None:
            return Score(error="no answer")
        found, mistake = parsed(sample.answer)
        if mistake is None:
            first = next(iter(sorted(validator.iter_errors(found), key=lambda error: list(map(str, error.path)))), None)
            mistake = None if first is None else f"{first.json_path}: {first.message}"
        return Score(value=float(mistake is None), details={} if mistake is None else {"mistake": mistake[:500]})

    return score


@scorer("json_match")
def json_match(
    sample: Sample,
    *,
    fields: list[str] | None = None,
    extra: Literal["allowed", "wrong"] = "allowed",
    tolerance: float = 0.0,
) -> Score:
    """The share of the expected JSON's fields, down to the leaves, that the answer has with the same value.

    `fields` names those that count, `"address.city"` or `"items.0"`. What else the answer has counts as wrong only
    with `extra: wrong`. Numbers may differ by `tolerance`; 1 equals 1.0 and nothing else.
    """
    if sample.answer is None or sample.expected is None:
        return Score(error="no answer" if sample.answer is None else "no expected answer")
    wanted, mistake = parsed(sample.expected)
    if mistake is not None:
        return Score(error=f"the expected answer is no JSON: {mistake}")
    found, mistake = parsed(sample.answer)
    if mistake is not None:
        return Score(value=0.0, details={"mistake": mistake})
    right, given = dict(leaves(wanted)), dict(leaves(found))
    counted = {place for place in right if fields is None or any(_within(place, field) for field in fields)}
    if fields is not None and (unknown := [f for f in fields if not any(_within(place, f) for place in right)]):
        return Score(error=f"the expected answer has no {', '.join(map(repr, unknown))}")
    wrong = sorted(p for p in counted if p not in given or not same(given[p], right[p], tolerance=tolerance))
    added = sorted(p for p in given.keys() - right.keys() if fields is None) if extra == "wrong" else []
    total = len(counted) + len(added)
    details = {key: places for key, places in (("wrong", wrong), ("added", added)) if places}
    return Score(value=1 - (len(wrong) + len(added)) / total if total else 1.0, details=details)


@scorer("tool_calls")
def tool_calls(
    sample: Sample,
    *,
    order: Literal["same", "any"] = "same",
    extra: Literal["wrong", "allowed"] = "wrong",
    arguments: Literal["same", "subset", "ignored"] = "same",
) -> Score:
    """1.0 when the tools that were called are the expected ones: their names, arguments and order.

    The calls are the answer's `tool_calls` (or the answer itself, as JSON), the expected ones a JSON list of
    `{"name": …, "arguments": {…}}`; OpenAI's form is read too, and an answer in words calls none. With `subset` further
    arguments are allowed.
    """
    if sample.expected is None:
        return Score(error="no expected answer")
    wanted, mistake = calls_of(sample.expected)
    if mistake is not None:
        return Score(error=f"the expected answer names no calls: {mistake}")
    found, mistake = calls_of(sample.outputs.get("tool_calls", sample.answer or "[]"))
    if mistake is not None and "tool_calls" in sample.outputs:
        return Score(value=0.0, details={"mistake": mistake})
    pairs = _ordered(found, wanted, arguments) if order == "same" else _matched(found, wanted, arguments)
    missing = [wanted[number] for number in range(len(wanted)) if number not in pairs]
    spare = [found[number] for number in range(len(found)) if number not in pairs.values()]
    passed = not missing and (extra == "allowed" or not spare)
    details = {key: calls for key, calls in (("missing", missing), ("extra", spare)) if calls}
    return Score(value=float(passed), details={"right": len(pairs), "wanted": len(wanted), **details})


def parsed(text: str) -> tuple[Any, str | None]:
    """Return the JSON of a text, alone or in one fence, and why there is none.

    >>> parsed('```json\\n{"a": 1}\\n```'), parsed("no")
    (({'a': 1}, None), (None, 'no JSON: Expecting value: line 1 column 1 (char 0)'))
    """
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=_refuse), None
    except RecursionError:
        return None, "no JSON: too deep"
    except ValueError as error:
        return None, f"no JSON: {error}"


def leaves(value: Any, place: str = "") -> list[tuple[str, Any]]:
    """Return what a JSON value holds at its ends, each with its place; what is empty is an end.

    >>> leaves({"a": {"b": 1}, "c": [2, []]})
    [('a.b', 1), ('c.0', 2), ('c.1', [])]
    """
    ends: list[tuple[str, Any]] = []
    left = [(place, value)]
    while left:
        at, each = left.pop()
        inside = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        children = [(f"{at}.{key}" if at else str(key), child) for key, child in inside]
        left.extend(reversed(children))
        if not children:
            ends.append((at, each))
    return ends


def same(one: Any, other: Any, *, tolerance: float = 0.0) -> bool:
    """Say whether two JSON values are the same; true is no 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(one == other or math.isclose(one, other, rel_tol=0.0, abs_tol=tolerance))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], tolerance=tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b, tolerance=tolerance) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def calls_of(given: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Return the calls that a list or its JSON names, in one shape, and why it names none."""
    value, mistake = parsed(given) if isinstance(given, str) else (given, None)
    if mistake is not None:
        return [], mistake
    calls = []
    for each in value if isinstance(value, list) else [value]:
        call = each.get("function", each) if isinstance(each, dict) else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return [], f"no call of a tool: {str(each)[:100]}"
        arguments = call.get("arguments", call.get("args", {}))
        if isinstance(arguments, str):
            arguments, mistake = parsed(arguments) if arguments.strip() else ({}, None)
            if mistake is not None:
                return [], f"the arguments of {call['name']!r} are {mistake}"
        calls.append({"name": call["name"], "arguments": arguments or {}})
    return calls, None


def _fits(call: Mapping[str, Any], wanted: Mapping[str, Any], arguments: str) -> bool:
    if call["name"] != wanted["name"] or arguments == "ignored":
        return bool(call["name"] == wanted["name"])
    given, right = call["arguments"], wanted["arguments"]
    if arguments == "subset" and isinstance(given, dict) and isinstance(right, dict):
        return all(key in given and same(given[key], right[key]) for key in right)
    return same(given, right)


def _ordered(found: Sequence[Any], wanted: Sequence[Any], arguments: str) -> dict[int, int]:
    """The longest chain of calls that fit in order: wanted number to found number."""
    best = [[0] * (len(found) + 1) for _ in range(len(wanted) + 1)]
    for i in reversed(range(len(wanted))):
        for j in reversed(range(len(found))):
            fits = 1 + best[i + 1][j + 1] if _fits(found[j], wanted[i], arguments) else 0
            best[i][j] = max(fits, best[i + 1][j], best[i][j + 1])
    pairs, i, j = {}, 0, 0
    while i < len(wanted) and j < len(found):
        if _fits(found[j], wanted[i], arguments) and best[i][j] == 1 + best[i + 1][j + 1]:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _matched(found: Sequence[Any], wanted: Sequence[Any], arguments: str) -> dict[int, int]:
    """As many fitting pairs as there can be, in any order (a bipartite matching by augmenting paths)."""
    holder: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j in range(len(found)):
            if j not in seen and _fits(found[j], wanted[i], arguments):
                seen.add(j)
                if j not in holder or place(holder[j], seen):
                    holder[j] = i
                    return True
        return False

    for i in range(len(wanted)):
        place(i, set())
    return {i: j for j, i in holder.items()}


def _within(place: str, field: str) -> bool:
    return place == field or place.startswith(f"{field}.")


def _schema(given: Mapping[str, Any] | str) -> Any:
    if not isinstance(given, str):
        return dict(given)
    if not given.lstrip().startswith("{") and not Path(given).is_file():
        raise NotFound(f"no schema {given!r}", hint="give a JSON schema, or the name of a file that holds one")
    text = given if given.lstrip().startswith("{") else Path(given).read_text("utf-8")
    found, mistake = parsed(text)
    if mistake is not None:
        raise Invalid(f"the schema is {mistake}", hint="give a JSON schema, or the name of a file that holds one")
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
