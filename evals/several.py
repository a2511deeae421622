"""Several runs at once: each against the first, and all of them ranked by whom they beat row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evals.compare import Comparison, Terms, compare, shared_metrics
from evals.pairing import items, value
from evals.reports import words
from evals.samples import Sample
from evals.statistics.bootstrap import Floats, percentile
from evals.statistics.corrections import benjamini_hochberg
from evals.statistics.intervals import Interval
from evals.statistics.ranking import bradley_terry
from workspace.errors import Invalid

RESAMPLES = 400
PRIOR = 0.5  # wins for each side, so that a run that never loses has a strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Runs over the rows that all of them answered: comparisons with the first, and strengths, the strongest first.

    A strength is a log odds around the mean of zero; its interval comes from drawing rows anew.
    """

    metric: str
    rows: int
    left_out: int
    comparisons: Mapping[str, Comparison]
    strengths: Mapping[str, Interval]


def compare_several(runs: Mapping[str, Sequence[Sample]], terms: Terms) -> Several:
    """Compare runs by the first metric that all have; p-values are corrected by Benjamini and Hochberg."""
    first, *others = runs
    metric = terms.metrics[0] if terms.metrics else shared_metrics(runs[first], runs[others[0]])[0]
    table, left_out = _scores(runs, metric)
    found = {name: compare(runs[first], runs[name], metric, margin=terms.margin) for name in others}
    ps = benjamini_hochberg([comparison.measured.test.p for comparison in found.values()])
    comparisons = {name: replace(found[name], p=p, asked=len(others)) for name, p in zip(found, ps, strict=True)}
    return Several(
        metric=metric,
        rows=len(table),
        left_out=left_out,
        comparisons=comparisons,
        strengths=_strengths(list(runs), table),
    )


def text(found: Several) -> str:
    """Return the comparison as lines."""
    lines = [f"{len(found.strengths)} runs by {found.metric!r} over {found.rows:,} rows, the strongest first:"]
    wide = max(map(len, found.strengths))
    for name, strength in found.strengths.items():
        told = f"strength {strength.estimate:+.2f} ({strength.low:+.2f} to {strength.high:+.2f})"
        lines.append(f"  {name:<{wide}}  {told}{_against(found, name)}")
    if found.left_out:
        lines.append(f"{found.left_out:,} rows without a score in every run are left out of the ranking.")
    return "\n".join(lines)


def markdown(found: Several) -> str:
    """Return the comparison as a table."""
    rows = [
        f"| {name.replace('|', ' ')} | {strength.estimate:+.2f} | {strength.low:+.2f} to {strength.high:+.2f} |"
        f" {_against(found, name).removeprefix('; ').replace('|', ' ')} |"
        for name, strength in found.strengths.items()
    ]
    return "\n".join(("| run | strength | 95 % interval | against the first |", "| --- | --- | --- | --- |", *rows))


def as_dict(found: Several) -> dict[str, Any]:
    """Return the comparison as JSON takes it, without its rows."""
    return {
        "metric": found.metric,
        "rows": found.rows,
        "left_out": found.left_out,
        "strengths": {name: asdict(interval) for name, interval in found.strengths.items()},
        "comparisons": {
            name: {
                "verdict": one.verdict,
                "p": one.p,
                "measured": asdict(one.measured),
                "rows": len(one.pairs),
            }
            for name, one in found.comparisons.items()
        },
    }


def _against(found: Several, name: str) -> str:
    comparison = found.comparisons.get(name)
    if comparison is None:
        return ""
    change = comparison.measured.change
    told = f"{words.change(change.estimate, comparison)} ({words.span(change, comparison)})"
    return f"; {told}, {words.p_value(comparison.p)}, {words.headline(comparison)}"


def _scores(runs: Mapping[str, Sequence[Sample]], metric: str) -> tuple[Floats, int]:
    """Return the scores of the rows that every run has, a row each, and how many rows some run lacks."""
    by_run = [items(samples) for samples in runs.values()]
    rows = []
    for key in by_run[0]:
        values = [value(of[key], metric) if key in of else None for of in by_run]
        rows.append([math.nan if score is None else score for score in values])
    table = np.array(rows)
    kept = table[~np.isnan(table).any(axis=1)]
    if len(kept) < 2:
        raise Invalid(f"too few rows have a score of {metric!r} in every run", hint="run all over the same data")
    return kept, len({key for of in by_run for key in of}) - len(kept)


def _strengths(names: Sequence[str], table: Floats) -> dict[str, Interval]:
    count = len(names)
    # Of each row, for each pair of runs: 1 where the one was better, a half where neither was.
    won = (table[:, :, None] > table[:, None, :]) + 0.5 * (table[:, :, None] == table[:, None, :])
    flat = won.reshape(len(table), -1)
    middle = bradley_terry(flat.sum(axis=0).reshape(count, count), prior=PRIOR)
    chance = np.random.Generator(np.random.SFC64(0))
    drawn = chance.multinomial(len(table), [1 / len(table)] * len(table), size=RESAMPLES) @ flat
    found = np.array(
        [
            [interval.estimate for interval in bradley_terry(wins.reshape(count, count), prior=PRIOR).intervals]
            for wins in drawn
        ]
    )
    strengths = {}
    for place, name in enumerate(names):
        ordered = np.sort(found[:, place])
        low, high = percentile(ordered, 0.025), percentile(ordered, 0.975)
        strengths[name] = Interval(middle.intervals[place].estimate, low, high, "Bradley-Terry, rows drawn anew")
    return dict(sorted(strengths.items(), key=lambda pair: -pair[1].estimate))
