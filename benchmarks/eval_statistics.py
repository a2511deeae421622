"""Whether our statistics keep their promises: coverage of intervals, false alarms of A/A pairs, power of planned rows.

Prints each figure, and with `--write FOLDER` draws the curves of docs/evals.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.measure import measure
from evals.statistics import clusters
from evals.statistics.agreement import Calibration, corrected_rate
from evals.statistics.clusters import clustered
from evals.statistics.intervals import bca, mean_t, wilson
from evals.statistics.paired import mcnemar, paired_t, sign_flip
from evals.statistics.power import ALPHA, rows_for_mean, rows_for_rate

Floats = NDArray[np.float64]
Curve = tuple[str, list[tuple[float, float]]]


def wilson_coverage(n: int, rate: float) -> float:
    """Return the exact coverage: every outcome, weighted by its chance."""
    from scipy import stats

    found = [wilson(passed, n) for passed in range(n + 1)]
    inside = [interval.low <= rate <= interval.high for interval in found]
    return float(stats.binom.pmf(np.arange(n + 1), n, rate) @ np.array(inside))


def wald_coverage(n: int, rate: float) -> float:
    """Return the coverage of what most tools print: the mean plus or minus 1.96 standard errors."""
    from scipy import stats

    passed = np.arange(n + 1)
    half = 1.96 * np.sqrt(passed / n * (1 - passed / n) / n)
    inside = np.abs(passed / n - rate) <= half
    return float(stats.binom.pmf(passed, n, rate) @ inside)


def bca_coverage(n: int, trials: int, seed: int = 1) -> float:
    """Return the coverage for skewed grades: a beta distribution whose mean is 0.8."""
    chance = np.random.default_rng(seed)
    found = (bca(chance.beta(4, 1, size=n), draws=2_000) for _ in range(trials))
    return float(np.mean([interval.low <= 0.8 <= interval.high for interval in found]))


def clustered_changes(chance: np.random.Generator, count: int, size: int, shared: float) -> tuple[Floats, list[int]]:
    """Return changes without an effect, of clusters that share that part of their variance."""
    of = np.repeat(np.arange(count), size)
    common = chance.normal(size=count)[of] * np.sqrt(shared)
    return common + chance.normal(size=count * size) * np.sqrt(1 - shared), of.tolist()


def cluster_coverage(count: int, trials: int, seed: int = 2) -> tuple[float, float]:
    """Return the coverage of the interval that fits, and of the t interval that knows no clusters."""
    chance = np.random.default_rng(seed)
    ours = naive = 0
    for _ in range(trials):
        values, of = clustered_changes(chance, count, 10, 0.5)
        # The interval holds what the test does not reject: asking the test is the same, and quicker.
        plain = mean_t(values)
        ours += clusters.fitting_test(clustered(values, of)).p >= ALPHA
        naive += plain.low <= 0 <= plain.high
    return ours / trials, naive / trials


def judge_coverage(labels: int, trials: int, seed: int = 3) -> tuple[float, float]:
    """Return the coverage of the rate corrected for a judge, and of the judge's own."""
    chance = np.random.default_rng(seed)
    ours = naive = 0
    for _ in range(trials):
        good = labels // 2
        by = Calibration(
            passed_right=int(chance.binomial(good, 0.9)),
            passed=good,
            failed_right=int(chance.binomial(labels - good, 0.8)),
            failed=labels - good,
        )
        passed = int(chance.binomial(500, 0.6 * 0.9 + 0.4 * 0.2))
        corrected, own = corrected_rate(passed, 500, by), wilson(passed, 500)
        ours += corrected.low <= 0.6 <= corrected.high
        naive += own.low <= 0.6 <= own.high
    return ours / trials, naive / trials


def false_alarms(draw: Callable[[np.random.Generator], float], trials: int, seed: int = 4) -> float:
    """Return how often a p-value without an effect is below 5 %."""
    chance = np.random.default_rng(seed)
    return float(np.mean([draw(chance) < ALPHA for _ in range(trials)]))


def aa_rates(chance: np.random.Generator, n: int = 1_000) -> float:
    """Return the p-value of two runs of the same thing: each row passes with a rate of its own."""
    rates = chance.beta(4, 1, size=n)
    one, other = (chance.random((2, n)) < rates).astype(float)
    return mcnemar(int((one > other).sum()), int((one < other).sum())).p


def aa_grades(chance: np.random.Generator, n: int = 200) -> float:
    """Return the p-value of two runs of the same thing with grades of five steps."""
    middle = chance.random(n)
    one, other = np.clip(np.round((middle + chance.normal(0, 0.2, (2, n))) * 4) / 4, 0, 1)
    return sign_flip(other - one, draws=2_000, seed=int(chance.integers(1 << 30))).p


def aa_clusters(chance: np.random.Generator, count: int) -> float:
    """Return the p-value of two runs of the same thing whose rows change together within clusters."""
    values, of = clustered_changes(chance, count, 10, 0.5)
    return clusters.fitting_test(clustered(values, of)).p


def aa_naive(chance: np.random.Generator) -> float:
    """Return what a test that knows no clusters says of fifty of them."""
    values, _ = clustered_changes(chance, 50, 10, 0.5)
    return paired_t(values).p


def aa_whole(chance: np.random.Generator) -> float:
    """Return the p-value by the front door: passes and failures in 60 documents of 5 questions."""
    rates = np.repeat(chance.beta(4, 1, size=60), 5)
    moods = np.repeat(chance.normal(0, 0.15, size=(2, 60)), 5, axis=1)  # a run takes some documents worse than others
    one, other = (chance.random((2, 300)) < np.clip(rates + moods, 0, 1)).astype(float)
    return measure(one.tolist(), other.tolist(), clusters=[str(number // 5) for number in range(300)]).test.p


def power_of_rates(gap: float, disagreement: float, trials: int, seed: int = 5) -> tuple[int, float]:
    """Return the planned rows, and how often they show the change."""
    chance, n = np.random.default_rng(seed), rows_for_rate(gap, disagreement)
    won = (disagreement + gap) / 2
    flips = chance.multinomial(n, [won, disagreement - won, 1 - disagreement], size=trials)
    return n, float(np.mean([mcnemar(int(lost), int(win)).p < ALPHA for win, lost, _ in flips]))


def power_of_grades(gap: float, deviation: float, trials: int, seed: int = 6) -> tuple[int, float]:
    """Return the planned rows, and how often the paired t test shows the change."""
    chance, n = np.random.default_rng(seed), rows_for_mean(gap, deviation)
    return n, float(np.mean([paired_t(chance.normal(gap, deviation, n)).p < ALPHA for _ in range(trials)]))


def draw(title: str, curves: Sequence[Curve], *, target: float, wide: tuple[float, float]) -> str:
    """Return curves as an SVG that is read in light and dark, the promise a dashed line."""
    xs = sorted({x for _, points in curves for x, _ in points})
    low, high = wide

    def place(x: float, y: float) -> str:
        across = 60 + 400 * xs.index(x) / max(1, len(xs) - 1)
        return f"{across:.1f},{190 - 150 * (min(high, max(low, y)) - low) / (high - low):.1f}"

    ticks = "".join(
        f'<text x="{60 + 400 * number / max(1, len(xs) - 1):.1f}" y="210" text-anchor="middle">{x:g}</text>'
        for number, x in enumerate(xs)
    )
    shares = [(194 - 37.5 * part, 100 * (low + (high - low) * part / 4)) for part in range(5)]
    levels = "".join(f'<text x="54" y="{y:.1f}" text-anchor="end">{share:.0f} %</text>' for y, share in shares)
    colours = ("#2b6cb0", "#b7791f", "#718096")
    lines = "".join(
        f'<polyline points="{" ".join(place(x, y) for x, y in points)}" fill="none" stroke="{colour}"'
        ' stroke-width="2.5"/>'
        f'<text x="{70 + 200 * number}" y="232" fill="{colour}">{name}</text>'
        for number, ((name, points), colour) in enumerate(zip(curves, colours, strict=False))
    )
    _, promised = place(xs[0], target).split(",")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 245" font-family="sans-serif" font-size="12"'
        f' fill="#718096"><text x="60" y="20" font-size="14">{title}</text>{levels}{ticks}'
        f'<line x1="60" x2="460" y1="{promised}" y2="{promised}" stroke="#718096" stroke-dasharray="4 4"/>'
        f"{lines}</svg>\n"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=2_000, help="A/A pairs, and trials of each coverage")
    options.add_argument("--write", type=Path, help="the folder of the curves")
    given = options.parse_args()
    started, trials = time.perf_counter(), given.pairs

    def tell(what: str, share: float) -> float:
        print(f"{what:<64} {100 * share:5.1f} %", flush=True)
        return share

    print(f"coverage of 95 % intervals, {trials:,} trials")
    rates = (0.5, 0.8, 0.9, 0.95, 0.98)
    ours = [(rate, tell(f"Wilson, 50 rows, rate {rate:g} (exact)", wilson_coverage(50, rate))) for rate in rates]
    wald = [
        (rate, tell(f"mean +- 1.96 errors, 50 rows, rate {rate:g} (exact)", wald_coverage(50, rate))) for rate in rates
    ]
    for n in (20, 50, 200):
        tell(f"BCa, {n} skewed grades", bca_coverage(n, trials))
    counts = (10, 20, 40, 80)
    covered = [(count, *cluster_coverage(count, trials)) for count in counts]
    for count, fitting, naive in covered:
        tell(f"{count} clusters of 10, the interval that fits", fitting)
        tell(f"{count} clusters of 10, a t interval without clusters", naive)
    judged = [(labels, *judge_coverage(labels, trials)) for labels in (50, 100, 200)]
    for labels, corrected, own in judged:
        tell(f"rate corrected for a judge, {labels} labels", corrected)
        tell(f"the judge's own rate, {labels} labels", own)

    print(f"\nfalse alarms at 5 %, {trials:,} A/A pairs")
    tell("passes and failures, 1,000 rows, mid-p McNemar", false_alarms(aa_rates, trials))
    tell("passes and failures, 60 rows, exact McNemar", false_alarms(lambda c: aa_rates(c, 60), trials))
    tell(f"grades, 200 rows, sign flips ({4 * trials:,} pairs)", false_alarms(aa_grades, 4 * trials))
    alarms = [
        (count, tell(f"{count} clusters of 10 rows", false_alarms(lambda c, n=count: aa_clusters(c, n), trials)))
        for count in (10, 20, 29, 50, 100)
    ]
    tell("passes and failures in 60 clusters, the whole measurement", false_alarms(aa_whole, trials))
    tell("50 clusters of 10 rows, a paired t test without clusters", false_alarms(aa_naive, trials))

    print("\npower of the planned rows, 80 % promised")
    powers = []
    for gap in (0.02, 0.03, 0.05, 0.10):
        for disagreement in (0.1, 0.2, 0.3):
            n, power = power_of_rates(gap, disagreement, 4 * trials)
            tell(f"change of {gap:g}, {disagreement:g} disagree: {n:,} rows", power)
            powers.append((gap, disagreement, power))
    for gap in (0.02, 0.05, 0.10):
        n, power = power_of_grades(gap, 0.3, trials)
        tell(f"change of {gap:g}, deviation 0.3: {n:,} rows", power)

    if given.write:
        given.write.mkdir(parents=True, exist_ok=True)
        wide = (0.5, 1.0)
        pictures = {
            "wilson": draw(
                "Coverage of a rate over 50 rows",
                [("Wilson", ours), ("mean ± 1.96 errors", wald)],
                target=0.95,
                wide=wide,
            ),
            "clusters": draw(
                "Coverage by number of clusters",
                [("ours", [(n, s) for n, s, _ in covered]), ("without clusters", [(n, s) for n, _, s in covered])],
                target=0.95,
                wide=wide,
            ),
            "judge": draw(
                "Coverage by number of people's labels",
                [("corrected", [(n, s) for n, s, _ in judged]), ("the judge's own", [(n, s) for n, _, s in judged])],
                target=0.95,
                wide=(0.0, 1.0),
            ),
            "alarms": draw(
                "False alarms by number of clusters",
                [("ours", [(float(n), s) for n, s in alarms])],
                target=0.05,
                wide=(0.0, 0.1),
            ),
            "power": draw(
                "Power of the planned rows, by change",
                [
                    (f"{share:g} disagree", [(gap, power) for gap, of, power in powers if of == share])
                    for share in (0.1, 0.2, 0.3)
                ],
                target=0.80,
                wide=wide,
            ),
        }
        for name, picture in pictures.items():
            (given.write / f"{name}.svg").write_text(picture, "utf-8")
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
