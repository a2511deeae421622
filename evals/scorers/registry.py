"""The names of scorers, and what a scorer is: one decorated function makes a new one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from evals.samples import Sample, Score
from workspace.errors import Invalid, NotFound, did_you_mean

Scorer = Callable[[Sample], Score]
"""What judges one sample; it may be called from several threads at once."""

Made = TypeVar("Made", bound=Callable[..., Any])
_scorers: dict[str, Callable[..., Any]] = {}


def scorer(name: str) -> Callable[[Made], Made]:
    """Make a function a scorer of that name.

    It takes `(answer, expected)` as texts and returns a number from 0 to 1, or takes the whole `sample` and returns
    a number or a `Score`; it may be `async`. Keyword-only parameters are the settings a task file may give.

        @scorer("short")
        def short(answer: str, expected: str, *, words: int = 20) -> float:
            return float(len(answer.split()) <= words)
    """

    def keep(function: Made) -> Made:
        _scorers[name] = function
        return function

    return keep


def names() -> tuple[str, ...]:
    """Return the names of all scorers."""
    return tuple(_scorers)


def get(name: str, **settings: Any) -> Scorer:
    """Return the scorer of that name with its settings: `get("exact")`. Raises NotFound, Invalid."""
    try:
        function = _scorers[name]
    except KeyError:
        raise NotFound(f"no scorer {name!r}", hint=did_you_mean(name, (*_scorers, "judge"))) from None
    parameters = inspect.signature(function).parameters
    known = [key for key, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    for key in settings:
        if key not in known:
            raise Invalid(f"scorer {name!r} has no setting {key!r}", hint=did_you_mean(key, known))
    for key in known:
        if parameters[key].default is inspect.Parameter.empty and key not in settings:
            raise Invalid(f"scorer {name!r} needs the setting {key!r}", hint=f"add `{key}:` below the scorer")
    if "expected" in parameters:
        return _comparing(function, settings)
    return _judging(function, settings)


def _comparing(function: Callable[..., Any], settings: dict[str, Any]) -> Scorer:
    @wraps(function)
    def score(sample: Sample) -> Score:
        if sample.answer is None or sample.expected is None:
            return Score(error="no expected answer" if sample.expected is None else "no answer")
        return _as_score(function(sample.answer, sample.expected, **settings))

    return score


def _judging(function: Callable[..., Any], settings: dict[str, Any]) -> Scorer:
    @wraps(function)
    def score(sample: Sample) -> Score:
        result = function(sample, **settings)
        return _as_score(asyncio.run(result) if inspect.iscoroutine(result) else result)

    return score


def _as_score(result: Any) -> Score:
    return result if isinstance(result, Score) else Score(value=float(result))
