"""Pairing: which row of one run is which of another, its repeats together, and what has no partner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evals.samples import Sample

Item = tuple[Sample, ...]
"""The repeats of one row, in the order of their epochs. The row is what was sampled, its repeats are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The rows of two runs. `edited` rows have one id and two contents: they are different questions.

    `duplicates` are the rows that say what an earlier one said; they are paired in the order of their lines.
    """

    matched: tuple[tuple[Item, Item], ...]
    only_before: tuple[Sample, ...]
    only_after: tuple[Sample, ...]
    edited: tuple[tuple[Sample, Sample], ...]
    duplicates: tuple[Sample, ...]


def pair(before: Iterable[Sample], after: Iterable[Sample]) -> Paired:
    """Pair the rows of two runs by content, equal rows in the order of their lines.

    A row keeps its partner when lines are inserted above it; a row whose content was edited has none.
    """
    old, new = items(before), items(after)
    only_before = tuple(item[0] for key, item in old.items() if key not in new)
    only_after = tuple(item[0] for key, item in new.items() if key not in old)
    named = {sample.name: sample for sample in only_after if sample.name is not None}
    return Paired(
        matched=tuple((item, new[key]) for key, item in old.items() if key in new),
        only_before=only_before,
        only_after=only_after,
        edited=tuple((sample, named[sample.name]) for sample in only_before if sample.name in named),
        duplicates=tuple(item[0] for (_, time), item in new.items() if time > 1),
    )


def items(samples: Iterable[Sample]) -> dict[tuple[str, int], Item]:
    """Return the rows of a run by content and by how many rows have said the same so far, in the order of lines."""
    seen: dict[tuple[str, int], int] = {}
    found: dict[tuple[str, int], Item] = {}
    for sample in sorted(samples, key=lambda sample: (sample.epoch, sample.number)):
        time = seen[sample.row, sample.epoch] = seen.get((sample.row, sample.epoch), 0) + 1
        key = (sample.row, time)
        found[key] = (*found[key], sample) if key in found else (sample,)
    return found


def value(item: Item, metric: str) -> float | None:
    """Return the mean score of a row's repeats, None where none of them has one."""
    if len(item) == 1:
        return scored(item[0], metric)
    values = [score for sample in item if (score := scored(sample, metric)) is not None]
    return sum(values) / len(values) if values else None


def scored(sample: Sample, metric: str) -> float | None:
    """Return the score of a sample, None where it has no answer or could not be judged."""
    score = sample.scores.get(metric)
    return None if score is None or sample.error else score.value


def shown(item: Item, metric: str, *, best: bool) -> Sample:
    """Return the repeat that shows a row's best or worst side."""
    if len(item) == 1:
        return item[0]
    values = [(scored(sample, metric), sample) for sample in item]
    with_score = [(score, sample) for score, sample in values if score is not None]
    if not with_score:
        return item[0]
    return (max if best else min)(with_score, key=lambda pair: pair[0])[1]


def why_unscored(before: Item, after: Item, metric: str) -> str:
    """Return why a row has no score in one of the runs or both."""
    reasons = []
    for which, item in (("before", before), ("after", after)):
        if value(item, metric) is None:
            score = item[0].scores.get(metric)
            reasons.append(f"{which}: {item[0].error or (score and score.error) or 'not scored'}")
    return "; ".join(reasons)


def clusters_of(pairs: Sequence[tuple[Item, Item]]) -> list[str] | None:
    """Return the cluster of each row, or None where no row names one; a row without one stands for itself."""
    if all(new[0].cluster is None and old[0].cluster is None for old, new in pairs):
        return None
    named = (new[0].cluster if new[0].cluster is not None else old[0].cluster for old, new in pairs)
    return [f"\0{place}" if name is None else name for place, name in enumerate(named)]
