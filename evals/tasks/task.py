"""A task: what is asked, of which rows, what a good answer is, and how long the asking may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from workspace.errors import Invalid, did_you_mean

Choosing = Literal["letter", "loglikelihood", "letter_loglikelihood"]
"""How one of several choices is told: the model writes its letter, or the likeliest text or letter counts."""

REDUCERS = ("mean", "mode", "max", "pass@k", "pass^k")
TARGETS = ("model", "endpoint", "flow", "function", "answers", "run")
TARGET_KEYS = (*TARGETS, "key", "api", "answer", "variant")
ROLES = ("expected", "id", "cluster", "choices", "answer")  # what a mapping may name beside inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """One scorer of a task: a registered name or a flow, its settings, and what its results are called."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    flow: Path | None = None
    mapping: Mapping[str, Any] = field(default_factory=dict)
    called: str = ""

    @property
    def label(self) -> str:
        """What the log and the results call it."""
        return self.called or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FewShot:
    """Examples before the question: the first or, with a seed, some of the rows of a file; `by` keeps to rows alike."""

    data: str | Sequence[Mapping[str, Any]]
    count: int = 5
    seed: int | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise Invalid(f"there cannot be {self.count} examples", hint="`count` is 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a run stops by itself: seconds of one answer, of one scorer, of all; tokens and cost of all."""

    sample_seconds: float = 120.0
    scorer_seconds: float = 60.0
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("sample_seconds", "scorer_seconds", "seconds", "tokens", "cost"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise Invalid(f"limit {name!r} must be above 0, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is measured: rows, what is asked about each, who answers, what counts as right.

    A task file says the same words; `folder` is where its relative paths begin.

        Task(name="sums", data=[{"q": "1+1", "expected": "2"}], prompt="{{q}}=", scorers=("exact",))
    """

    name: str
    data: str | Sequence[Mapping[str, Any]]
    description: str = ""
    folder: Path = field(default_factory=Path.cwd)
    mapping: Mapping[str, Any] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    system: str | None = None
    generate: Mapping[str, Any] = field(default_factory=dict)
    few_shot: FewShot | None = None
    choosing: Choosing | None = None
    scorers: Sequence[Scoring | str] = ()
    epochs: int = 1
    reduce: Sequence[str] = ("mean",)
    slices: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    concurrency: int = 16
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.concurrency < 1:
            raise Invalid(f"epochs and concurrency are at least 1, not {self.epochs} and {self.concurrency}")
        for reducer in self.reduce:
            check_reducer(reducer, self.epochs)
        if unknown := [
            key for key in self.target if key not in {*TARGETS, "key", "api", "answer", "variant", "timeout"}
        ]:
            raise Invalid(f"a target has no {unknown[0]!r}", hint=did_you_mean(unknown[0], TARGETS))

    @property
    def scorings(self) -> tuple[Scoring, ...]:
        """The scorers, those that were only named too; no two may be called the same."""
        found = tuple(Scoring(name=each) if isinstance(each, str) else each for each in self.scorers)
        labels = [each.label for each in found]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise Invalid(f"two scorers are called {min(twice)!r}", hint="give one of them `as: another name`")
        return found


def check_reducer(reducer: str, epochs: int) -> None:
    """Raise Invalid for what is no reducer of so many epochs: `check_reducer("pass@3", 5)`."""
    word, mark, k = reducer.partition("@") if "@" in reducer else reducer.partition("^")
    if not mark and reducer in ("mean", "mode", "max"):
        return
    if word != "pass" or not k.isdigit() or int(k) < 1:
        raise Invalid(f"no reducer {reducer!r}", hint=f"known: {', '.join(REDUCERS)} with a number for k")
    if int(k) > epochs:
        raise Invalid(f"{reducer} needs {k} repeats and there are {epochs}", hint=f"epochs: {k}")


Made = TypeVar("Made", bound=Callable[..., Task])
_MARK = "__studiolo_task__"


def task(function: Made) -> Made:
    """Mark a function that returns a Task, so that `studiolo eval run file.py` finds it. Its parameters are `--set`.

    @task
    def sums(count: int = 10) -> Task:
        return Task(name="sums", data=[...], prompt="{{q}}", scorers=["exact"])
    """
    setattr(function, _MARK, True)
    return function


def is_task(thing: object) -> bool:
    """Whether a function was marked by `task`."""
    return callable(thing) and bool(getattr(thing, _MARK, False))
