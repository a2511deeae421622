"""Compare two scored runs row by row, and say in one word what the difference means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from evals.samples import Sample
from evals.statistics.intervals import Interval, bca, newcombe_paired, wilson
from evals.statistics.paired import Test, mcnemar, paired_t, sign_flip
from evals.statistics.power import ALPHA, rows_for_mean, rows_for_rate, visible_mean_change, visible_rate_change
from workspace.errors import Invalid, NotFound, did_you_mean

MARGIN = 0.03

Verdict = Literal["regressed", "improved", "no detectable change", "underpowered"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One row that both runs answered and scored."""

    before: Sample
    after: Sample
    change: float


@dataclass(frozen=True, slots=True)
class Unscored:
    """One row that a run could not answer or a scorer could not judge; it counts neither for nor against."""

    before: Sample
    after: Sample
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How two runs differ over the same rows. A binary metric has passes and failures only.

    `visible` is the smallest change that these rows could have shown, `rows_needed` how many rows would show one
    as small as the margin.
    """

    binary: bool
    before: Interval
    after: Interval
    change: Interval
    test: Test
    second_test: Test | None
    visible: float | None
    rows_needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of two runs, row by row. `margin` is the change worth seeing."""

    metric: str
    margin: float
    measured: Difference
    pairs: tuple[Pair, ...]
    unscored: tuple[Unscored, ...]
    only_before: tuple[Sample, ...]
    only_after: tuple[Sample, ...]

    @property
    def verdict(self) -> Verdict:
        """The one rule that the printed word, the reports and the exit code share: the p-value decides."""
        if self.measured.test.p < ALPHA:
            return "improved" if self.measured.change.estimate > 0 else "regressed"
        if self.measured.visible is None or self.measured.visible > self.margin:
            return "underpowered"
        return "no detectable change"

    @property
    def passed(self) -> bool:
        """Whether a gate against regressions lets this through."""
        return self.verdict != "regressed"

    @property
    def not_worse(self) -> bool:
        """Whether the interval shows that no more than the margin was lost."""
        return self.measured.change.low > -self.margin

    @property
    def losses(self) -> tuple[Pair, ...]:
        """The rows that got worse, the worst first; for a binary metric those that passed and now fail."""
        return tuple(sorted((pair for pair in self.pairs if pair.change < 0), key=lambda pair: pair.change))

    @property
    def gains(self) -> tuple[Pair, ...]:
        """The rows that got better, the best first."""
        return tuple(sorted((pair for pair in self.pairs if pair.change > 0), key=lambda pair: -pair.change))


def compare(
    before: Sequence[Sample], after: Sequence[Sample], metric: str | None = None, *, margin: float = MARGIN
) -> Comparison:
    """Compare a metric of two runs over the rows they share; without a name, the first metric both have.

    Rows are paired by content; those without a partner are listed, not dropped. Raises Invalid where fewer than
    two rows were scored in both runs.
    """
    if not 0 < margin <= 1:
        raise Invalid(f"a margin must be above 0 and at most 1, not {margin}", hint="3 points are 0.03")
    metric = _metric(before, after, metric)
    matched, only_before, only_after = match(before, after)
    pairs: list[Pair] = []
    values: list[tuple[float, float]] = []
    unscored: list[Unscored] = []
    for one, other in matched:
        old, new = _value(one, metric), _value(other, metric)
        if old is None or new is None:
            unscored.append(Unscored(one, other, _reason(one, other, metric)))
        else:
            values.append((old, new))
            pairs.append(Pair(one, other, new - old))
    if len(pairs) < 2:
        raise Invalid(
            f"too few rows to compare: {len(pairs)} have a score of {metric!r} in both runs",
            hint=f"{len(only_before) + len(only_after)} rows have no partner; run both over the same data",
        )
    return Comparison(
        metric=metric,
        margin=margin,
        measured=measure([old for old, _ in values], [new for _, new in values], margin=margin),
        pairs=tuple(pairs),
        unscored=tuple(unscored),
        only_before=only_before,
        only_after=only_after,
    )


def match(
    before: Iterable[Sample], after: Iterable[Sample]
) -> tuple[tuple[tuple[Sample, Sample], ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """Pair the rows of two runs by content, equal rows in the order of their lines; return what has no partner too.

    A row keeps its partner when lines are inserted above it; a row whose content was edited has none.
    """
    waiting: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(after, key=lambda sample: sample.number, reverse=True):
        waiting[sample.row].append(sample)
    matched: list[tuple[Sample, Sample]] = []
    alone: list[Sample] = []
    for sample in sorted(before, key=lambda sample: sample.number):
        if partners := waiting[sample.row]:
            matched.append((sample, partners.pop()))
        else:
            alone.append(sample)
    left = sorted((sample for rest in waiting.values() for sample in rest), key=lambda sample: sample.number)
    return tuple(matched), tuple(alone), tuple(left)


def measure(before: Sequence[float], after: Sequence[float], *, margin: float = MARGIN) -> Difference:
    """Measure the change between scores of the same rows, by the methods for passes and failures or for grades."""
    return _rates(before, after, margin) if {*before, *after} <= {0.0, 1.0} else _means(before, after, margin)


def _rates(before: Sequence[float], after: Sequence[float], margin: float) -> Difference:
    n = len(before)
    cells = Counter(zip(before, after, strict=True))
    both, lost, won, neither = cells[1, 1], cells[1, 0], cells[0, 1], cells[0, 0]
    disagreement = (lost + won) / n
    return Difference(
        binary=True,
        before=wilson(both + lost, n),
        after=wilson(both + won, n),
        change=newcombe_paired(both, lost, won, neither),
        test=mcnemar(lost, won),
        second_test=None,
        visible=visible_rate_change(n, disagreement),
        rows_needed=rows_for_rate(margin, disagreement),
    )


def _means(before: Sequence[float], after: Sequence[float], margin: float) -> Difference:
    changes = [new - old for old, new in zip(before, after, strict=True)]
    deviation = stdev(changes)
    return Difference(
        binary=False,
        before=bca(before),
        after=bca(after),
        change=bca(changes),
        test=sign_flip(changes),
        second_test=paired_t(changes),
        # Changes that are all alike have no spread to plan with: ask instead for rows that change by a whole score.
        visible=visible_mean_change(len(changes), deviation) if deviation else visible_rate_change(len(changes), 0.0),
        rows_needed=rows_for_mean(margin, deviation),
    )


def _metric(before: Iterable[Sample], after: Iterable[Sample], metric: str | None) -> str:
    old = {name: None for sample in before for name in sample.scores}
    new = {name for sample in after for name in sample.scores}
    shared = [name for name in old if name in new]
    if metric is None and shared:
        return shared[0]
    if metric in shared:
        return str(metric)
    if metric is None:
        hint = f"one has {', '.join(old) or 'no scores'}, the other {', '.join(sorted(new)) or 'no scores'}"
        raise Invalid("the runs share no metric", hint=hint)
    raise NotFound(f"no metric {metric!r} in both runs", hint=did_you_mean(metric, shared))


def _value(sample: Sample, metric: str) -> float | None:
    score = sample.scores.get(metric)
    return None if score is None or sample.error else score.value


def _reason(before: Sample, after: Sample, metric: str) -> str:
    reasons = []
    for which, sample in (("before", before), ("after", after)):
        if _value(sample, metric) is None:
            score = sample.scores.get(metric)
            reasons.append(f"{which}: {sample.error or (score and score.error) or 'not scored'}")
    return "; ".join(reasons)
