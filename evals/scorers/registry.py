"""The names of scorers, and what a scorer is: one decorated function makes a new one."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from evals.samples import Sample, Score
from workspace.errors import Invalid, NotFound, Unavailable, did_you_mean

if TYPE_CHECKING:
    from evals.scorers.asking import ChatModel

Scorer = Callable[[Sample], Score]
"""What judges one sample; it may be called from several threads at once."""

MLFLOW = "mlflow."  # what the names of MLflow's own scorers begin with

Made = TypeVar("Made", bound=Callable[..., Any])


def _no_model(_: str | None) -> ChatModel:
    raise Unavailable("no model is at hand for this scorer", hint="give it a `base_url` and a `model`")


@dataclass(frozen=True, slots=True)
class Means:
    """What whoever runs scorers has for them: `model(None)` is the model of the workspace, `model("name")` another.

    It is called when the first sample needs it, so that no gateway is started for scorers that ask nobody.
    `embedder(name)` is the same for models that turn texts into vectors.
    """

    model: Callable[[str | None], ChatModel] = _no_model
    embedder: Callable[[str | None], ChatModel] = _no_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A scorer by name: what it promises, its settings with their defaults, and what it needs."""

    name: str
    function: Callable[..., Any]
    promise: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    quick: bool = False
    makes: bool = False


REQUIRED = inspect.Parameter.empty  # the default of a setting that has none
_scorers: dict[str, Entry] = {}


def scorer(name: str, *, needs: tuple[str, ...] = (), quick: bool = False) -> Callable[[Made], Made]:
    """Make a function a scorer of that name.

    It takes `(answer, expected)` as texts and returns a number from 0 to 1, or takes the whole `sample` and returns
    a number or a `Score`; it may be `async`. Keyword-only parameters are the settings a task file may give. Where
    several answers are right the best of them counts. `quick` ones take microseconds and need no thread; `needs` says
    in words what must be at hand.

        @scorer("short")
        def short(answer: str, expected: str, *, words: int = 20) -> float:
            return float(len(answer.split()) <= words)
    """
    return _kept(name, needs=needs, quick=quick, makes=False)


def scorer_maker(name: str, *, needs: tuple[str, ...] = (), quick: bool = False) -> Callable[[Made], Made]:
    """Make a function one that returns a scorer for its settings: what is read, compiled or opened once goes there.

    A keyword-only parameter called `means` is given the `Means` of whoever runs it and is no setting.
    """
    return _kept(name, needs=needs, quick=quick, makes=True)


def names() -> tuple[str, ...]:
    """Return the names of all scorers."""
    return tuple(_scorers)


def entries() -> tuple[Entry, ...]:
    """Return all scorers, by name."""
    return tuple(_scorers[name] for name in sorted(_scorers))


def is_quick(name: str) -> bool:
    """Say whether the scorer takes microseconds, so that it may be called where nothing must wait."""
    return name in _scorers and _scorers[name].quick


def get(name: str, *, means: Means | None = None, **settings: Any) -> Scorer:
    """Return the scorer of that name with its settings: `get("exact")`. Raises NotFound, Invalid.

    `get("mlflow.RelevanceToQuery")` is a scorer of MLflow's, `get("package.module:function")` a decorated one of yours.
    """
    if name.startswith(MLFLOW):
        from evals.scorers.mlflow_scorers import by_name

        return by_name(name.removeprefix(MLFLOW), settings)
    entry = _found(name)
    _check(entry, settings)
    if entry.makes:
        takes_means = "means" in inspect.signature(entry.function).parameters
        made = entry.function(**settings, **({"means": means or Means()} if takes_means else {}))
        return _judging(made, {})
    if "expected" in inspect.signature(entry.function).parameters:
        return _comparing(entry.function, settings)
    return _judging(entry.function, settings)


def references(expected: str) -> tuple[str, ...]:
    """Return the right answers: those of a JSON list of words and numbers, else the one text.

    >>> references('["4", "four"]'), references("four")
    (('4', 'four'), ('four',))
    """
    if expected.lstrip().startswith("["):
        try:
            several = json.loads(expected)
        except ValueError:
            return (expected,)
        if several and all(isinstance(each, str | int | float) for each in several):
            return tuple(each if isinstance(each, str) else json.dumps(each) for each in several)
    return (expected,)


def _kept(name: str, *, needs: tuple[str, ...], quick: bool, makes: bool) -> Callable[[Made], Made]:
    def keep(function: Made) -> Made:
        parameters = inspect.signature(function).parameters.values()
        _scorers[name] = Entry(
            name=name,
            function=function,
            promise=(inspect.getdoc(function) or "").partition("\n")[0],
            settings={p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "means"},
            needs=needs,
            quick=quick,
            makes=makes,
        )
        return function

    return keep


def _found(name: str) -> Entry:
    if name not in _scorers and ":" in name:
        module, _, function = name.partition(":")
        try:
            own = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise NotFound(f"no scorer {name!r}: {error}", hint="write it as package.module:function") from None
        return next((entry for entry in _scorers.values() if entry.function is own), None) or _entry_of(name, own)
    if name not in _scorers:
        raise NotFound(f"no scorer {name!r}", hint=did_you_mean(name, _scorers))
    return _scorers[name]


def _entry_of(name: str, function: Callable[..., Any]) -> Entry:
    scorer(name)(function)
    return _scorers[name]


def _check(entry: Entry, settings: Mapping[str, Any]) -> None:
    for key in settings:
        if key not in entry.settings:
            hint = did_you_mean(key, entry.settings)
            raise Invalid(f"scorer {entry.name!r} has no setting {key!r}", hint=hint)
    for key, default in entry.settings.items():
        if default is REQUIRED and key not in settings:
            raise Invalid(f"scorer {entry.name!r} needs the setting {key!r}", hint=f"add `{key}:` below the scorer")


def _comparing(function: Callable[..., Any], settings: dict[str, Any]) -> Scorer:
    @wraps(function)
    def score(sample: Sample) -> Score:
        if sample.answer is None or sample.expected is None:
            return Score(error="no expected answer" if sample.expected is None else "no answer")
        right = references(sample.expected)
        scores = [_as_score(function(sample.answer, each, **settings)) for each in right]
        return max(scores, key=lambda each: -math.inf if each.value is None else each.value)

    return score


def _judging(function: Callable[..., Any], settings: dict[str, Any]) -> Scorer:
    @wraps(function)
    def score(sample: Sample) -> Score:
        return _as_score(function(sample, **settings))

    return score


def _as_score(result: Any) -> Score:
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if isinstance(result, Score):
        return result
    value = float(result)
    return Score(value=value) if math.isfinite(value) else Score(error=f"the scorer said {value}, which is no score")
