"""The words of a comparison: the same sentence on the terminal, in every report and in the log."""

from __future__ import annotations

from collections.abc import Iterable

from evals.compare import Comparison
from evals.gate import Decision
from evals.samples import Sample
from evals.statistics.intervals import Interval
from evals.statistics.power import POWER

MINUS = "\u2212"


def headline(comparison: Comparison) -> str:
    """Return the verdict as one line: "no detectable change (could see at least 2.8 points)"."""
    visible = comparison.measured.visible
    if comparison.verdict == "no detectable change":
        return f"no detectable change (could see at least {size(visible or 0.0, comparison)})"
    return comparison.verdict


def decision(made: Decision) -> str:
    """Return what the gate decided and why, the reasons a line each."""
    return "\n".join((made.word, *(f"- {reason}" for reason in made.failures)))


def sentence(comparison: Comparison) -> str:
    """Return what was measured, in one sentence with its interval and p-value."""
    measured = comparison.measured
    rows = f"{len(comparison.pairs):,} rows" + (f" in {clusters:,} clusters" if (clusters := measured.clusters) else "")
    p = p_value(comparison.p) + (f" (corrected for {comparison.asked} metrics)" if comparison.asked > 1 else "")
    before, after = (level(side.estimate, comparison) for side in (measured.before, measured.after))
    moved = measured.change.estimate
    told = f"{'rose' if moved > 0 else 'fell'} from {before} to {after}" if moved else f"stayed at {before}"
    return (
        f"{comparison.metric!r} {told}: {change(moved, comparison)} "
        f"(95 % interval {span(measured.change, comparison)}), {p}, {rows} paired."
    )


def advice(comparison: Comparison) -> str:
    """Return what these rows could have shown, and what a smaller change needs."""
    measured = comparison.measured
    margin = size(comparison.margin, comparison)
    if measured.visible is None:
        reach = f"These {len(comparison.pairs):,} rows are too few, or too much alike, to show any change."
    else:
        visible = size(measured.visible, comparison)
        reach = f"With these rows a true change of {visible} is noticed {100 * POWER:.0f} % of the time."
    if comparison.verdict in ("regressed", "improved"):
        return reach
    if measured.rows_needed > len(comparison.pairs):
        reach += f" A change of {margin} needs about {measured.rows_needed:,} rows."
    if comparison.not_worse:
        reach += f" A loss of {margin} or more is ruled out."
    return reach


def cautions(comparison: Comparison) -> tuple[str, ...]:
    """Return what a reader must know before trusting the numbers, one sentence each."""
    found = []
    if comparison.unscored:
        found.append(f"{_rows(len(comparison.unscored))} without a score in one of the runs: left out, listed below.")
    if comparison.only_before or comparison.only_after:
        alone = f"{len(comparison.only_before):,} only before, {len(comparison.only_after):,} only after"
        found.append(f"Rows without a partner: {alone}. They are left out and listed below.")
    if comparison.edited:
        rows = f"{_rows(len(comparison.edited))} with other content ({_some(after for _, after in comparison.edited)})"
        found.append(f"The data changed between the runs: {rows}.")
    if comparison.duplicates:
        rows = f"{_rows(len(comparison.duplicates))} that say what an earlier one said ({_some(comparison.duplicates)})"
        found.append(f"{rows}: paired in the order of their lines.")
    if comparison.repeats > 1:
        found.append(f"Rows were asked up to {comparison.repeats} times: a row counts once, by its mean.")
    if comparison.measured.clusters == 1:
        found.append("All rows are of one cluster: nothing can be told of others.")
    change_ = comparison.measured.change
    if comparison.asked == 1 and (comparison.verdict in ("regressed", "improved")) != (
        change_.low > 0 or change_.high < 0
    ):
        found.append("Interval and p-value disagree at the border; the p-value decides.")
    return tuple(found)


def level(value: float, comparison: Comparison) -> str:
    """Return a rate as a percentage and a mean score as a number."""
    return f"{value:.1%}".replace("%", " %") if comparison.measured.binary else f"{value:.3f}"


def change(value: float, comparison: Comparison) -> str:
    """Return a signed change: "+12.5 points" of a rate, "-0.040" of a mean score."""
    sign = "+" if value > 0 else MINUS if value < 0 else "±"
    return sign + size(abs(value), comparison)


def size(value: float, comparison: Comparison) -> str:
    """Return how big a change is, without its sign."""
    return f"{100 * value:.1f} points" if comparison.measured.binary else f"{value:.3f}"


def span(interval: Interval, comparison: Comparison) -> str:
    """Return the bounds of a change: "+3.2 to +21.8 points"."""
    low, high = change(interval.low, comparison), change(interval.high, comparison)
    return f"{low.removesuffix(' points')} to {high}"


def levels(interval: Interval, comparison: Comparison) -> str:
    """Return the bounds of a rate or mean: "41.0 % to 66.3 %"."""
    return f"{level(interval.low, comparison)} to {level(interval.high, comparison)}"


def score(value: float, comparison: Comparison) -> str:
    """Return how a row scored: "passed", "failed", or its grade."""
    return ("passed" if value else "failed") if comparison.measured.binary else f"{value:.3g}"


def p_value(p: float) -> str:
    """Return a p-value with two digits that mean something: "p = 0.031", "p < 0.0001"."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def _some(samples: Iterable[Sample], most: int = 5) -> str:
    labels = [sample.label for sample in samples]
    return ", ".join(labels[:most]) + (", …" if len(labels) > most else "")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def tick(value: float, comparison: Comparison) -> str:
    """Return a level as an axis shows it: "50 %" or "0.5"."""
    return f"{100 * value:g} %" if comparison.measured.binary else f"{value:g}"


def change_tick(value: float, comparison: Comparison) -> str:
    """Return a change as an axis shows it: "+10" points or "+0.1"."""
    shown = f"{abs(100 * value if comparison.measured.binary else value):.4g}"
    return shown if not value else ("+" if value > 0 else MINUS) + shown
