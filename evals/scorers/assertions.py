"""The scorer `promptfoo`: assertions that a row brings along, as promptfoo writes them, and one verdict for all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from evals.samples import Sample, Score, as_text
from evals.scorers.patterns import compiled
from evals.scorers.registry import Means, Scorer, get, scorer_maker
from workspace.errors import Invalid, Location, did_you_mean

COLUMN = "assert"
_NOT = "not-"
_JSON = re.compile(r"[\[{]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one assertion says: a score from 0 to 1, and whether that is enough; or why it cannot say."""

    score: float
    passed: bool
    error: str | None = None


Check = Callable[[Sample, Mapping[str, Any], Means], Verdict]


@scorer_maker("promptfoo", needs=("assertions in the column `assert`",))
def promptfoo(*, means: Means) -> Scorer:
    """1 when the assertions of the row's column `assert` hold, or their weighted mean reaches the row's `threshold`."""

    def score(sample: Sample) -> Score:
        assertions = sample.metadata.get(COLUMN) or []
        if sample.answer is None or not assertions:
            return Score(error="no answer" if sample.answer is None else "the row has no assertions")
        told, total, weights, all_passed = [], 0.0, 0.0, True
        for assertion in assertions:
            verdict = _verdict(sample, assertion, means)
            if verdict.error is not None:
                return Score(error=f"{assertion['type']}: {verdict.error}")
            weight = float(assertion.get("weight", 1))
            total, weights = total + weight * verdict.score, weights + weight
            all_passed = all_passed and (verdict.passed or weight == 0)  # without weight it only tells
            told.append({"type": assertion["type"], "passed": verdict.passed, "score": round(verdict.score, 4)})
        mean = total / weights if weights else 1.0
        threshold = sample.metadata.get("threshold")
        passed = all_passed if threshold is None else mean >= float(threshold)
        return Score(value=float(passed), details={"mean": mean, "assertions": told})

    return score


def refuse_unknown(assertion: Mapping[str, Any], *, at: Location | None = None) -> None:
    """Raise Invalid for an assertion that cannot be judged here: `refuse_unknown({"type": "is-json"})` does not."""
    kind = str(assertion.get("type", "")).removeprefix(_NOT)
    if kind not in _CHECKS:
        hint = did_you_mean(kind, _CHECKS) or f"taken over are: {', '.join(sorted(_CHECKS))}"
        raise Invalid(f"the assertion {kind!r} is not taken over", hint=hint, at=at)


def _verdict(sample: Sample, assertion: Mapping[str, Any], means: Means) -> Verdict:
    kind = str(assertion["type"])
    asked = {**assertion, "value": _filled(assertion.get("value"), sample)}
    found = _CHECKS[kind.removeprefix(_NOT)](sample, asked, means)
    if kind.startswith(_NOT) and found.error is None:
        return Verdict(1.0 - found.score, not found.passed)
    return found


def _filled(value: Any, sample: Sample) -> Any:
    """Put the row's variables where a value names them: "{{city}} is"."""
    if isinstance(value, str) and "{{" in value:
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: as_text(sample.inputs.get(found[1], found[0])), value)
    return [_filled(each, sample) for each in value] if isinstance(value, list) else value


def _holds(test: Callable[[str, Any], bool]) -> Check:
    def check(sample: Sample, assertion: Mapping[str, Any], _: Means) -> Verdict:
        passed = test(sample.answer or "", assertion["value"])
        return Verdict(float(passed), passed)

    return check


def _contains(answer: str, value: Any, *, fold: bool = False, many: Callable[..., bool] = all) -> bool:
    text = answer.casefold() if fold else answer
    wanted = value if isinstance(value, list) else [value]
    return many((as_text(each).casefold() if fold else as_text(each)) in text for each in wanted)


def _equals(answer: str, value: Any) -> bool:
    if isinstance(value, dict | list):
        try:
            return bool(json.loads(answer) == value)
        except ValueError:
            return False
    return answer.strip() == as_text(value).strip()


def _is_json(answer: str, value: Any) -> bool:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return _fits(found, value)


def _contains_json(answer: str, value: Any) -> bool:
    return any(_fits(found, value) for found in _embedded(answer))


def _embedded(text: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while found := _JSON.search(text, place):
        try:
            value, place = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            place = found.end()
        else:
            yield value


def _fits(found: Any, schema: Any) -> bool:
    if not isinstance(schema, dict):
        return True
    score = _by_schema(json.dumps(schema))
    return score(Sample(number=0, row="", inputs={}, answer=json.dumps(found))).value == 1.0


@lru_cache(64)
def _by_schema(schema: str) -> Scorer:
    return get("json_schema", schema=json.loads(schema))


def _words(answer: str, value: Any) -> bool:
    count = len(answer.split())
    if isinstance(value, dict):
        return bool(value.get("min", 0) <= count <= value.get("max", count))
    return count == int(value)


def _levenshtein(sample: Sample, assertion: Mapping[str, Any], _: Means) -> Verdict:
    from rapidfuzz.distance import Levenshtein

    distance = Levenshtein.distance(sample.answer or "", as_text(assertion["value"]))
    passed = distance <= float(assertion.get("threshold", 5))
    return Verdict(float(passed), passed)


def _at_most(measured: Callable[[Sample], float | None], what: str) -> Check:
    def check(sample: Sample, assertion: Mapping[str, Any], _: Means) -> Verdict:
        found, most = measured(sample), assertion.get("threshold")
        if found is None or most is None:
            return Verdict(0.0, False, error=f"no {what} is known" if found is None else "it needs a `threshold`")
        return Verdict(float(found <= float(most)), found <= float(most))

    return check


def _by(name: str, threshold: float, **settings: Any) -> Check:
    """Return a check by one of our scorers: what it gives must reach the threshold."""

    def check(sample: Sample, assertion: Mapping[str, Any], means: Means) -> Verdict:
        from dataclasses import replace

        given = settings | ({"rubric": as_text(assertion["value"])} if name == "judge" else {})
        scored = get(name, means=means, **given)(replace(sample, expected=as_text(assertion["value"])))
        if scored.value is None:
            return Verdict(0.0, False, error=scored.error or "no score")
        return Verdict(scored.value, scored.value >= float(assertion.get("threshold", threshold)))

    return check


_CHECKS: dict[str, Check] = {
    "equals": _holds(_equals),
    "contains": _holds(_contains),
    "icontains": _holds(lambda answer, value: _contains(answer, value, fold=True)),
    "contains-all": _holds(_contains),
    "contains-any": _holds(lambda answer, value: _contains(answer, value, many=any)),
    "icontains-all": _holds(lambda answer, value: _contains(answer, value, fold=True)),
    "icontains-any": _holds(lambda answer, value: _contains(answer, value, fold=True, many=any)),
    "starts-with": _holds(lambda answer, value: answer.startswith(as_text(value))),
    "regex": _holds(lambda answer, value: compiled(as_text(value)).search(answer) is not None),
    "is-json": _holds(_is_json),
    "contains-json": _holds(_contains_json),
    "word-count": _holds(_words),
    "levenshtein": _levenshtein,
    "latency": _at_most(lambda sample: None if sample.seconds is None else sample.seconds * 1_000, "latency"),
    "cost": _at_most(lambda sample: sample.cost, "cost"),
    "rouge-n": _by("rouge", 0.75, kind="rouge1", stemmer=False),
    "bleu": _by("bleu", 0.5),
    "similar": _by("similarity", 0.75),
    "llm-rubric": _by("judge", 0.75),
    "model-graded-closedqa": _by("judge", 0.75),
}
