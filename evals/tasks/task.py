"""A task: what is asked, of which rows, what a good answer is, and how long the asking may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from workspace.errors import Invalid, Location, did_you_mean

Choosing = Literal["letter", "loglikelihood", "letter_loglikelihood"]
"""How one of several choices is told: the model writes its letter, or the likeliest text or letter counts."""

REDUCERS = ("mean", "mode", "max", "pass@k", "pass^k")
TARGETS = ("model", "endpoint", "flow", "function", "answers", "run")
APIS = ("chat", "completion")
TARGET_KEYS = (*TARGETS, "key", "api", "answer", "variant")
GENERATE_KEYS = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "presence_penalty", "frequency_penalty",
    "logit_bias", "logprobs", "top_logprobs", "seed", "response_format", "tools", "tool_choice", "parallel_tool_calls",
    "reasoning_effort", "verbosity", "modalities", "prediction", "service_tier", "user", "metadata", "store", "suffix",
    "best_of", "echo", "top_k", "min_p", "typical_p", "repetition_penalty", "length_penalty", "min_tokens",
    "ignore_eos", "stop_token_ids", "include_stop_str_in_output", "skip_special_tokens", "add_generation_prompt",
    "chat_template_kwargs", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "grammar", "json_schema", "truncate_prompt_tokens", "priority", "cache_prompt", "mirostat", "dry_multiplier",
    "xtc_probability", "thinking", "extra_body",
)  # fmt: skip
"""What a request may say beside model and question; what else a server knows goes into `extra_body`."""
ROLES = ("expected", "id", "cluster", "choices", "answer")  # what a mapping may name beside inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """One scorer of a task: a registered name or a flow, its settings, and what its results are called."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    flow: Path | None = None
    mapping: Mapping[str, Any] = field(default_factory=dict)
    called: str = ""
    at: Location | None = field(default=None, compare=False)  # where it is written

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
        check_generate(self.generate)
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


def check_generate(given: Mapping[str, Any]) -> None:
    """Raise Invalid for what no server knows: a key mistyped would be ignored by many, and the run another one."""
    for key in given:
        if key not in GENERATE_KEYS:
            hint = did_you_mean(key, GENERATE_KEYS) or ""
            if not hint.startswith("did"):
                hint = "if the server knows it: generate: {extra_body: {" + f"{key}: …" + "}}"
            raise Invalid(f"a request has no {key!r}", hint=hint)
    if not isinstance(given.get("extra_body", {}), Mapping):
        raise Invalid("`extra_body` is a mapping", hint="it goes into every request as it is")


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
