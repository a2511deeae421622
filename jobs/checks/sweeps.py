"""Sweeps: searches that cannot be done, and policies that say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.checks.names import refusal, undeclared
from jobs.files.reading import Finding, Origin
from jobs.files.search_space import Normal, QNormal, QUniform, RandInt, Space, Uniform, Values
from jobs.files.sweep import Bandit, Sampling, SweepJob, SweepLimits, TruncationSelection
from workspace.documents import Step

_NUMBERS = ("min_value", "max_value", "mu", "sigma", "q", "upper")
BAYESIAN = ("choice", "uniform", "quniform")


def of_sweep(job: SweepJob) -> Iterator[Finding]:
    """Yield what cannot be right in a sweep."""
    declared = {"inputs": job.inputs, "outputs": job.outputs, "search_space": _names(job.search_space)}
    yield from undeclared(job.origin, ("trial", "command"), job.trial.command, declared)
    yield from search(job.origin, job.search_space, job.sampling_algorithm)
    yield from stopping(job.origin, job.early_termination)
    yield from limits(job.origin, job.limits)


def search(origin: Origin, spaces: Mapping[str, Space] | None, sampling: Sampling | None) -> Iterator[Finding]:
    """Yield spaces in which nothing can be found, or not in this way."""
    if not spaces:
        yield refusal("empty-search", "there is nothing to search", origin, hint="say what under `search_space`")
    for name, space in (spaces or {}).items():
        yield from _space(origin, ("search_space", name), space)
        if sampling is not None and sampling.type == "grid" and not _is_finite(space):
            what = f"grid sampling tries all values, and {space.type} has no end of them"
            yield refusal("grid-continuous", what, origin, "search_space", name, hint="give a choice of values")
        if sampling is not None and sampling.type == "bayesian" and space.type not in BAYESIAN:
            what = f"bayesian sampling knows {', '.join(BAYESIAN)}, not {space.type}"
            yield refusal("bayesian-distribution", what, origin, "search_space", name)


def stopping(origin: Origin, policy: Any) -> Iterator[Finding]:
    """Yield policies that say nothing, or two things."""
    if policy is None or isinstance(policy, str):
        return
    if isinstance(policy, Bandit) and (policy.slack_factor is None) == (policy.slack_amount is None):
        both = "both" if policy.slack_factor is not None else "none"
        what = f"bandit takes one of `slack_factor` and `slack_amount`, and there is {both}"
        yield refusal("bandit-slack", what, origin, "early_termination")
    percentage = policy.truncation_percentage if isinstance(policy, TruncationSelection) else None
    if isinstance(percentage, int) and not 1 <= percentage <= 99:
        what = f"must be from 1 to 99, not {percentage}"
        yield refusal("truncation-percentage", what, origin, "early_termination", "truncation_percentage")
    for key, least in (("evaluation_interval", 1), ("delay_evaluation", 0)):
        number = getattr(policy, key)
        if isinstance(number, int) and number < least:
            yield refusal("early-termination", f"`{key}` must be at least {least}", origin, "early_termination", key)


def limits(origin: Origin, given: SweepLimits) -> Iterator[Finding]:
    """Yield limits that let nothing through."""
    for key in ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout"):
        number = getattr(given, key)
        if isinstance(number, int | float) and number <= 0:
            yield refusal("limit-without-room", f"`{key}` must be above 0, not {number:g}", origin, "limits", key)


def _names(spaces: Mapping[str, Any]) -> list[str]:
    """Return the names of spaces, and of what stands in the values of their choices: `model.depth`."""
    found = list(spaces)
    for name, space in spaces.items():
        for value in space.values if isinstance(space, Values) else ():
            found += [f"{name}.{each}" for each in _names(value)] if isinstance(value, Mapping) else []
    return found


def _space(origin: Origin, steps: tuple[Step, ...], space: Space) -> Iterator[Finding]:
    problem = None
    if any(isinstance(getattr(space, name), str) for name in _NUMBERS if hasattr(space, name)):
        return  # an expression stands for it
    if isinstance(space, Values) and not space.values:
        problem = "a choice needs `values`"
    if isinstance(space, Uniform | QUniform) and space.min_value > space.max_value:
        problem = f"`min_value` {space.min_value:g} is above `max_value` {space.max_value:g}"
    if isinstance(space, Normal | QNormal) and space.sigma <= 0:
        problem = f"`sigma` must be above 0, not {space.sigma:g}"
    if isinstance(space, QUniform | QNormal) and space.q <= 0:
        problem = f"`q` must be above 0, not {space.q:g}"
    if isinstance(space, RandInt) and space.upper < 1:
        problem = f"`upper` must be at least 1, not {space.upper}"
    if problem:
        yield refusal("empty-space", problem, origin, *steps)
    if isinstance(space, Values):
        for index, value in enumerate(space.values):
            for key, inside in value.items() if isinstance(value, Mapping) else ():
                if isinstance(inside, Space):
                    yield from _space(origin, (*steps, "values", index, key), inside)


def _is_finite(space: Space) -> bool:
    if not isinstance(space, Values):
        return False
    nested = [each for value in space.values if isinstance(value, Mapping) for each in value.values()]
    return all(_is_finite(each) for each in nested if isinstance(each, Space))
