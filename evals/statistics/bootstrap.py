"""Resamples: what the mean would have been, had other rows been drawn; blockwise, so that memory stays small."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 10_000
MOST_PICKS = 20_000_000  # rows times draws that are picked one by one: half a second
PICKS_AT_ONCE = 1_000_000
BINS = 256


def means(values: Floats, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Return the means of `draws` resamples of the values, seeded.

    Where values repeat, how often each is drawn is one multinomial draw. Where a great many rows differ they are put
    into 256 bins: how many fall into a bin is drawn exactly, what they differ from its mean is drawn from the normal
    distribution of that variance. The mean and the variance of a resample are exact; what else the bins change is far
    below what 10,000 draws can tell.
    """
    chance, n = _chance(seed), len(values)
    levels, counts = np.unique(values, return_counts=True)
    # A pick costs an eighth of a count.
    if n * draws <= MOST_PICKS and n < 8 * len(levels):
        return _by_picks(chance, values, draws)
    if len(levels) <= BINS:
        return _by_counts(chance, levels, counts, draws)
    middles, counts, within = binned(values)
    rest = chance.normal(0.0, np.sqrt(within / n), size=draws)  # n picks, each with within / n of variance
    drawn: Floats = _by_counts(chance, middles, counts, draws) + rest / np.sqrt(n)
    return drawn


def flipped_sums(changes: Floats, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Return the sums of the changes with signs drawn anew: flipping m equal changes is throwing m coins."""
    chance = _chance(seed)
    sizes, counts = np.unique(np.abs(changes[changes != 0]), return_counts=True)
    rest = 0.0
    if len(sizes) > BINS:
        sizes, counts, within = binned(np.abs(changes[changes != 0]))
        rest = within
    heads = np.empty((draws, len(sizes)))
    for column, count in enumerate(counts):
        heads[:, column] = chance.binomial(count, 0.5, size=draws)
    sums = (2.0 * heads - counts) @ sizes
    return cast(Floats, sums + chance.normal(0.0, np.sqrt(rest), size=draws) if rest else sums)


def binned(values: Floats) -> tuple[Floats, NDArray[np.int64], float]:
    """Return the means and counts of bins of equal width, and the sum of squares that is left within them."""
    low, high = float(values.min()), float(values.max())
    place = np.minimum(((values - low) * (BINS / (high - low))).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, weights=values, minlength=BINS)
    used = counts > 0
    middles = np.zeros(BINS)
    middles[used] = sums[used] / counts[used]
    within = float(((values - middles[place]) ** 2).sum())
    return middles[used], counts[used], within


def percentile(ordered: Floats, p: float) -> float:
    """Return what a share `p` of ordered draws lies below, between two of them where it must."""
    return float(np.interp(p * (len(ordered) - 1), np.arange(len(ordered)), ordered))


def _by_counts(chance: np.random.Generator, levels: Floats, counts: NDArray[np.int64], draws: int) -> Floats:
    n = int(counts.sum())
    drawn = np.empty(draws)
    at_once = max(1, PICKS_AT_ONCE // len(levels))
    for start in range(0, draws, at_once):
        block = chance.multinomial(n, counts / n, size=min(at_once, draws - start))
        drawn[start : start + at_once] = block @ levels / n
    return drawn


def _by_picks(chance: np.random.Generator, values: Floats, draws: int) -> Floats:
    n = len(values)
    drawn = np.empty(draws)
    at_once = max(1, PICKS_AT_ONCE // n)
    for start in range(0, draws, at_once):
        picks = chance.integers(0, n, size=(min(at_once, draws - start), n), dtype=np.uint32)
        drawn[start : start + at_once] = values[picks].mean(axis=1)
    return drawn


def _chance(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))
