"""Sweep jobs: the same command with many values, to find the best by a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.command import CodeField, Job
from jobs.files.distribution import Distributed
from jobs.files.environment_file import EnvironmentField
from jobs.files.ports import Inputs, OutputsByName
from jobs.files.reading import Origin, Place
from jobs.files.record import Mark, Record
from jobs.files.resources import QueueSettings, Resources, Variables
from jobs.files.search_space import SearchSpace
from jobs.files.shapes import ByKind, Choice, Definitions, Either, Number, Schema, Seconds, Text, is_bound

Algorithm = Literal["random", "grid", "bayesian"]
ALGORITHMS = ("random", "grid", "bayesian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How values are chosen. `seed`, `rule` and `logbase` are for random sampling."""

    type: Annotated[Algorithm, Mark.CAMEL]
    seed: Annotated[int | None, "The same seed chooses the same values."] = None
    rule: Annotated[Literal["random", "sobol"], Mark.CAMEL, "sobol: spread evenly."] = "random"
    logbase: Annotated[float | str | None, Either((Number(), Text())), "The base of log distributions."] = None

    def settle(self, place: Place, written: Mapping[str, Any]) -> Sampling:
        for key in ("seed", "rule", "logbase"):
            if key in written and self.type != "random":
                raise place.under(key).refused(f"{self.type} sampling has no `{key}`")
        return self


@dataclass(frozen=True, slots=True)
class SamplingShape:
    """A sampling algorithm by its name, or with what it takes."""

    def read(self, place: Place, value: Any) -> Any:
        if is_bound(place, value):
            return value
        if isinstance(value, str):
            return Sampling(type=Choice(ALGORITHMS).read(place, value))  # type: ignore[arg-type]  # one of them
        return Record(Sampling).read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [Choice(ALGORITHMS).schema(definitions), Record(Sampling).schema(definitions)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is best."""

    goal: Annotated[Literal["minimize", "maximize"], Mark.CAMEL]
    primary_metric: Annotated[str, "The metric, as the command logs it."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandit:
    """Ends trials that are worse than the best by more than a factor, or an amount."""

    type: Annotated[Literal["bandit"], Mark.CAMEL]
    evaluation_interval: Annotated[int | None, Mark.NULLABLE, "How often it looks, in loggings of the metric."] = None
    delay_evaluation: Annotated[int | None, Mark.NULLABLE, "How many loggings it lets pass first."] = None
    slack_factor: Annotated[float | None, Mark.NULLABLE, "As a part of the best."] = None
    slack_amount: Annotated[float | None, Mark.NULLABLE, "As a difference to the best."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianStopping:
    """Ends trials whose best so far is worse than the median of the others' running averages."""

    type: Annotated[Literal["median_stopping"], Mark.CAMEL]
    evaluation_interval: Annotated[int | None, Mark.NULLABLE] = None
    delay_evaluation: Annotated[int | None, Mark.NULLABLE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationSelection:
    """Ends the worst part of the trials each time it looks."""

    type: Annotated[Literal["truncation_selection"], Mark.CAMEL]
    evaluation_interval: Annotated[int | None, Mark.NULLABLE] = None
    delay_evaluation: Annotated[int | None, Mark.NULLABLE] = None
    truncation_percentage: Annotated[int, "How large that part is."]
    exclude_finished_jobs: Annotated[bool, Mark.OURS, "Whether finished trials count."] = False


EarlyTermination = Bandit | MedianStopping | TruncationSelection
EARLY_TERMINATION = ByKind(
    {
        "bandit": Record(Bandit),
        "median_stopping": Record(MedianStopping),
        "truncation_selection": Record(TruncationSelection),
    },
    case="camel",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """How many trials, how many at once, and for how long."""

    max_total_trials: Annotated[int, "How many trials."]
    max_concurrent_trials: Annotated[int | None, "How many at once; all of them where it is not said."] = None
    timeout: Annotated[float | None, Seconds(), "Seconds for the whole sweep."] = None
    trial_timeout: Annotated[float | None, Seconds(), "Seconds for one trial."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What each trial runs."""

    ignored: ClassVar[tuple[str, ...]] = ("$schema",)

    origin: Origin
    command: Annotated[str, "As in a command job; `${{search_space.x}}` is the trial's value."]
    environment: EnvironmentField
    code: CodeField = None
    environment_variables: Variables = field(default_factory=dict)
    resources: Resources | None = None
    distribution: Distributed = None
    queue_settings: QueueSettings | None = None


SamplingField = Annotated[Sampling, SamplingShape(), "How values are chosen."]
EarlyTerminationField = Annotated[EarlyTermination | None, EARLY_TERMINATION, "Which trials are ended early."]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepJob(Job):
    """One command, tried with many values."""

    type: Literal["sweep"]
    trial: Trial
    search_space: SearchSpace = field(default_factory=dict)
    objective: Objective
    sampling_algorithm: SamplingField = field(default_factory=lambda: Sampling(type="random"))
    early_termination: EarlyTerminationField = None
    limits: SweepLimits
    inputs: Inputs = field(default_factory=dict)
    outputs: OutputsByName = field(default_factory=dict)
    queue_settings: QueueSettings | None = None
    resources: Resources | None = None
