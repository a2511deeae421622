"""Several runs at once: each against the first, and all of them ranked by whom they beat row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.compare import Comparison, Terms, compare, shared_metrics
from evals.pairing import items, value
from evals.reports import words
from evals.samples import Sample
from evals.statistics.bootstrap import Floats, percentile
from evals.statistics.corrections import benjamini_hochberg
from evals.statistics.intervals import Interval
from evals.statistics.ranking import bradley_terry
from workspace.errors import Invalid

Places = npt.NDArray[np.int64]

RESAMPLES = 400
SAME = 1e-9  # strengths that are no further apart differ by rounding only
PRIOR = 0.5  # wins for each side, so that a run that never loses has a strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """Runs over the rows that all of them answered: comparisons with the first, and strengths, the strongest first.

    A strength is a log odds around the mean of zero; its interval comes from drawing rows anew, or clusters of rows as
    a whole. Rows that all say the same leave nothing to draw: then it is the interval of the model itself.
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
    table, of, left_out = _scores(runs, metric)
    found = {name: compare(runs[first], runs[name], metric, margin=terms.margin) for name in others}
    ps = benjamini_hochberg([comparison.measured.test.p for comparison in found.values()])
    comparisons = {name: replace(found[name], p=p, asked=len(others)) for name, p in zip(found, ps, strict=True)}
    return Several(
        metric=metric,
        rows=len(table),
        left_out=left_out,
        comparisons=comparisons,
        strengths=_strengths(list(runs), table, of),
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


def _scores(runs: Mapping[str, Sequence[Sample]], metric: str) -> tuple[Floats, Places, int]:
    """Return the scores of the rows that every run has, the cluster of each, and how many rows some run lacks."""
    by_run = [items(samples) for samples in runs.values()]
    rows, of = [], []
    for place, (key, item) in enumerate(by_run[0].items()):
        of.append(item[0].cluster if item[0].cluster is not None else f"\0{place}")
        values = [value(of[key], metric) if key in of else None for of in by_run]
        rows.append([math.nan if score is None else score for score in values])
    table = np.array(rows)
    whole = ~np.isnan(table).any(axis=1)
    kept = table[whole]
    if len(kept) < 2:
        raise Invalid(f"too few rows have a score of {metric!r} in every run", hint="run all over the same data")
    clusters = np.unique(np.array(of)[whole], return_inverse=True)[1]
    return kept, clusters, len({key for run in by_run for key in run}) - len(kept)


def _strengths(names: Sequence[str], table: Floats, of: Places) -> dict[str, Interval]:
    count, groups = len(names), int(of.max()) + 1
    # Of each row, for each pair of runs: 1 where the one was better, a half where neither was.
    won = (table[:, :, None] > table[:, None, :]) + 0.5 * (table[:, :, None] == table[:, None, :])
    flat = np.zeros((groups, count * count))
    np.add.at(flat, of, won.reshape(len(table), -1))
    wins = flat.sum(axis=0).reshape(count, count)
    middle = bradley_terry(wins, prior=PRIOR)
    # As many rows as there are clusters: no more are known to be independent.
    alone = bradley_terry(wins * groups / len(table), prior=PRIOR)
    chance = np.random.Generator(np.random.SFC64(0))
    drawn = chance.multinomial(groups, [1 / groups] * groups, size=RESAMPLES) @ flat
    distinct, which = np.unique(drawn, axis=0, return_inverse=True)
    fitted = [bradley_terry(each.reshape(count, count), prior=PRIOR).intervals for each in distinct]
    found = np.array([[interval.estimate for interval in intervals] for intervals in fitted])[which]
    strengths = {}
    for place, name in enumerate(names):
        ordered = np.sort(found[:, place])
        low, high = percentile(ordered, 0.025), percentile(ordered, 0.975)
        estimate, method = middle.intervals[place].estimate, "Bradley-Terry, rows drawn anew"
        if ordered[-1] - ordered[0] < SAME:
            half = (alone.intervals[place].high - alone.intervals[place].low) / 2
            low, high, method = estimate - half, estimate + half, "Bradley-Terry, rows all alike"
        strengths[name] = Interval(estimate, low, high, method)
    return dict(sorted(strengths.items(), key=lambda pair: -pair[1].estimate))
