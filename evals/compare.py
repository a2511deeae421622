"""Compare two scored runs row by row, and say in one word what the difference means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evals.measure import MARGIN, Difference, measure
from evals.pairing import Item, Paired, clusters_of, pair, shown, value, why_unscored
from evals.samples import Sample
from evals.statistics.corrections import benjamini_hochberg, holm
from evals.statistics.power import ALPHA
from workspace.errors import Invalid, NotFound, did_you_mean

__all__ = ["ALPHA", "MARGIN", "Comparison", "Difference", "Pair", "Slice", "Unscored", "Verdict", "compare"]

MOST_SLICES = 40
MOST_VALUES = 12  # of a column that is no list of ids
FEWEST_ROWS = 5  # of a slice

Verdict = Literal["regressed", "improved", "no detectable change", "underpowered"]
Correction = Literal["holm", "bh"]
_CORRECT: dict[Correction, Callable[[Sequence[float]], tuple[float, ...]]] = {"holm": holm, "bh": benjamini_hochberg}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How two runs are compared: by which metrics, the first being the primary one, and with what margin.

    Without names it is the first metric that both runs have, or every one. Holm's correction keeps the chance of any
    false alarm: for gates. "bh" keeps the share of false ones: for exploring. `peeking` is for runs that still go on.
    """

    metrics: tuple[str, ...] = ()
    every: bool = False
    margin: float = MARGIN
    correction: Correction = "bh"
    peeking: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """One row that both runs answered and scored; `old` and `new` are the means of its repeats."""

    before: Sample
    after: Sample
    change: float
    old: float = 0.0
    new: float = 0.0


@dataclass(frozen=True, slots=True)
class Unscored:
    """One row that a run could not answer or a scorer could not judge; it counts neither for nor against."""

    before: Sample
    after: Sample
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows that share a value of a column; `p` is raised for all slices that were looked at."""

    column: str
    value: str
    rows: int
    measured: Difference
    p: float

    @property
    def name(self) -> str:
        """What is shown: "language = de"."""
        return f"{self.column} = {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric of two runs, row by row. `margin` is the change worth seeing.

    `p` is the p-value raised for the `asked` metrics that were compared together. `repeats` counts how often a row was
    asked at most.
    """

    metric: str
    margin: float
    measured: Difference
    pairs: tuple[Pair, ...]
    unscored: tuple[Unscored, ...]
    only_before: tuple[Sample, ...]
    only_after: tuple[Sample, ...]
    edited: tuple[tuple[Sample, Sample], ...] = ()
    duplicates: tuple[Sample, ...] = ()
    slices: tuple[Slice, ...] = ()
    repeats: int = 1
    p: float
    asked: int = 1

    @property
    def verdict(self) -> Verdict:
        """The one rule that the printed word, the reports and the exit code share: the p-value decides."""
        if self.p < ALPHA:
            return "improved" if self.measured.change.estimate > 0 else "regressed"
        if self.measured.visible is None or self.measured.visible > self.margin:
            return "underpowered"
        return "no detectable change"

    @property
    def passed(self) -> bool:
        """Whether it has not regressed."""
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
    before: Sequence[Sample],
    after: Sequence[Sample],
    metric: str | None = None,
    *,
    margin: float = MARGIN,
    peeking: bool = False,
) -> Comparison:
    """Compare a metric of two runs over the rows they share; without a name, the first metric both have.

    Rows are paired by content, repeats of a row averaged first; those without a partner are listed, not dropped.
    `peeking` is for runs that still go on. Raises Invalid where fewer than two rows were scored in both runs.
    """
    metric = shared_metrics(before, after, () if metric is None else (metric,))[0]
    return _compare(pair(before, after), metric, margin, peeking=peeking)


def compare_all(
    before: Sequence[Sample],
    after: Sequence[Sample],
    terms: Terms = Terms(),
) -> tuple[Comparison, ...]:
    """Compare one metric or several, whose p-values are corrected together."""
    metrics, paired = shared_metrics(before, after, terms.metrics), pair(before, after)
    if not terms.metrics and not terms.every:
        metrics = metrics[:1]
    found = [_compare(paired, metric, terms.margin, peeking=terms.peeking) for metric in metrics]
    ps = _CORRECT[terms.correction]([comparison.measured.test.p for comparison in found])
    return tuple(replace(one, p=p, asked=len(found)) for one, p in zip(found, ps, strict=True))


def shared_metrics(before: Iterable[Sample], after: Iterable[Sample], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the wanted metrics that both runs have, or all that both have. Raises Invalid, NotFound."""
    old = {name: None for sample in before for name in sample.scores}
    new = {name for sample in after for name in sample.scores}
    shared = [name for name in old if name in new]
    if not wanted and not shared:
        hint = f"one has {', '.join(old) or 'no scores'}, the other {', '.join(sorted(new)) or 'no scores'}"
        raise Invalid("the runs share no metric", hint=hint)
    for name in wanted:
        if name not in shared:
            raise NotFound(f"no metric {name!r} in both runs", hint=did_you_mean(name, shared))
    return tuple(wanted or shared)


def _compare(paired: Paired, metric: str, margin: float, *, peeking: bool) -> Comparison:
    if not 0 < margin <= 1:
        raise Invalid(f"a margin must be above 0 and at most 1, not {margin}", hint="3 points are 0.03")
    pairs: list[Pair] = []
    kept: list[tuple[Item, Item]] = []
    unscored: list[Unscored] = []
    for one, other in paired.matched:
        old, new = value(one, metric), value(other, metric)
        if old is None or new is None:
            unscored.append(Unscored(one[0], other[0], why_unscored(one, other, metric)))
            continue
        worse = new < old
        sides = shown(one, metric, best=worse), shown(other, metric, best=not worse)
        pairs.append(Pair(*sides, new - old, old, new))
        kept.append((one, other))
    if len(pairs) < 2:
        alone = len(paired.only_before) + len(paired.only_after)
        raise Invalid(
            f"too few rows to compare: {len(pairs)} have a score of {metric!r} in both runs",
            hint=f"{alone} rows have no partner; run both over the same data",
        )
    clusters = clusters_of(kept)
    if peeking:
        _refuse_early_looks(kept, clusters)
    old_values, new_values = [pair.old for pair in pairs], [pair.new for pair in pairs]
    measured = measure(old_values, new_values, margin=margin, clusters=clusters, peeking=peeking)
    return Comparison(
        metric=metric,
        margin=margin,
        measured=measured,
        pairs=tuple(pairs),
        unscored=tuple(unscored),
        only_before=paired.only_before,
        only_after=paired.only_after,
        edited=paired.edited,
        duplicates=paired.duplicates,
        slices=_slices(pairs, clusters, margin, peeking=peeking),
        repeats=max(len(item) for both in kept for item in both),
        p=measured.test.p,
    )


def _refuse_early_looks(kept: Sequence[tuple[Item, Item]], clusters: Sequence[str] | None) -> None:
    """Refuse what no early look is right for: what was seen must not change, nor weigh otherwise than it counts."""
    hint = "wait until the run is over, and leave out --peek"
    if len({len(item) for both in kept for item in both}) > 1:
        raise Invalid("repeats that are still coming in change rows that were looked at before", hint=hint)
    if clusters is not None and len(set(Counter(clusters).values())) > 1:
        raise Invalid("clusters of different sizes cannot be looked at early", hint=hint)


def _slices(
    pairs: Sequence[Pair], clusters: Sequence[str] | None, margin: float, *, peeking: bool
) -> tuple[Slice, ...]:
    """Measure the rows that share a value, for every column whose values repeat; p by Benjamini and Hochberg."""
    found = []
    for column, groups in _columns(pairs).items():
        for told, places in groups.items():
            measured = measure(
                [pairs[place].old for place in places],
                [pairs[place].new for place in places],
                margin=margin,
                clusters=None if clusters is None else [clusters[place] for place in places],
                peeking=peeking,
            )
            found.append((column, told, len(places), measured))
    ps = benjamini_hochberg([measured.test.p for *_, measured in found])
    slices = (
        Slice(column=column, value=told, rows=rows, measured=measured, p=p)
        for (column, told, rows, measured), p in zip(found, ps, strict=True)
    )
    return tuple(sorted(slices, key=lambda part: part.measured.change.estimate))


def _columns(pairs: Sequence[Pair]) -> dict[str, dict[str, list[int]]]:
    """Return the rows of every value, of the columns that have a few values only."""
    values: dict[str, dict[str, list[int]]] = {}
    many: set[str] = set()
    for place, one in enumerate(pairs):
        for column, told in one.after.metadata.items():
            if column in many or not isinstance(told, str | bool | int):
                continue
            groups = values.setdefault(column, {})
            groups.setdefault(str(told), []).append(place)
            if len(groups) > MOST_VALUES:
                many.add(column)
                del values[column]
    kept: dict[str, dict[str, list[int]]] = {}
    count = Counter[str]()
    for column, groups in values.items():
        large = {told: places for told, places in groups.items() if len(places) >= FEWEST_ROWS}
        if len(groups) > 1 and large and count.total() + len(large) <= MOST_SLICES:
            kept[column] = large
            count[column] = len(large)
    return kept
