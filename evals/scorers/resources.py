"""Scorers of what an answer took: its time, its cost, its length. They pass or fail by a limit that the task gives."""

from __future__ import annotations

from evals.samples import Sample, Score
from evals.scorers.registry import scorer


@scorer("latency", quick=True)
def latency(sample: Sample, *, within: float) -> Score:
    """1.0 when the answer came within so many seconds."""
    if sample.seconds is None:
        return Score(error="nobody has measured how long it took")
    return Score(value=float(sample.seconds <= within), details={"seconds": sample.seconds})


@scorer("cost", quick=True)
def cost(sample: Sample, *, within: float) -> Score:
    """1.0 when the answer cost no more than so much, in the unit of the workspace's prices."""
    if sample.cost is None:
        return Score(error="no price is known for this answer")
    return Score(value=float(sample.cost <= within), details={"cost": sample.cost})


@scorer("tokens", quick=True)
def tokens(sample: Sample, *, within: int) -> Score:
    """1.0 when the answer has no more than so many tokens."""
    if sample.tokens is None:
        return Score(error="nobody has counted the tokens")
    return Score(value=float(sample.tokens[1] <= within), details={"tokens": sample.tokens[1]})
