"""Agreement: whether a judge says what people say, and what a rate is when the judge errs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evals.statistics.bootstrap import Floats, percentile
from evals.statistics.distributions import fair_coin_cdf, normal_quantile
from evals.statistics.intervals import CONFIDENCE, Interval, wilson
from evals.statistics.paired import Test
from workspace.errors import Invalid

Weights = Literal["none", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
RESAMPLES = 1_000


def cohen_kappa(
    pairs: Sequence[tuple[Hashable, Hashable]], *, weights: Weights = "none", confidence: float = CONFIDENCE
) -> Interval:
    """Return Cohen's kappa of two raters, with Fleiss's large-sample error.

    With weights, labels are numbers and a near miss counts for something: `weights="quadratic"` for grades.
    """
    if not pairs:
        raise Invalid("kappa needs at least one row that both have judged")
    labels = _ordered({label for pair in pairs for label in pair}, numbers=weights != "none")
    place = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    for one, other in pairs:
        table[place[one], place[other]] += 1
    share = table / len(pairs)
    agree = _weights(labels, weights)
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed, expected = float((agree * share).sum()), float((agree * np.outer(rows, columns)).sum())
    if expected >= 1:  # both have used one label only
        return Interval(1.0, -1.0, 1.0, "Cohen's kappa")
    kappa = (observed - expected) / (1 - expected)
    of_row, of_column = agree @ columns, agree.T @ rows
    inner = (agree - (of_row[:, None] + of_column[None, :]) * (1 - kappa)) ** 2
    variance = float((share * inner).sum()) - (kappa - expected * (1 - kappa)) ** 2
    error = math.sqrt(max(0.0, variance) / len(pairs)) / (1 - expected)
    half = normal_quantile(0.5 + confidence / 2) * error
    name = "Cohen's kappa" if weights == "none" else f"Cohen's kappa, {weights} weights"
    return Interval(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), name)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable | None]], *, level: Level = "nominal", confidence: float = CONFIDENCE
) -> Interval:
    """Return Krippendorff's alpha of any number of raters, one row a unit and None where one did not judge.

    The interval is a bootstrap over units, seeded.
    """
    units = [[value for value in row if value is not None] for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    if len(units) < 2:
        raise Invalid("alpha needs at least two units that two have judged")
    labels = _ordered({value for unit in units for value in unit}, numbers=level != "nominal")
    place = {label: number for number, label in enumerate(labels)}
    met = np.zeros((len(units), len(labels), len(labels)))
    for number, unit in enumerate(units):
        counts = np.zeros(len(labels))
        np.add.at(counts, [place[value] for value in unit], 1)
        met[number] = (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    alpha = _alpha(met.sum(axis=0), labels, level)
    chance = np.random.Generator(np.random.SFC64(0))
    drawn = chance.multinomial(len(units), [1 / len(units)] * len(units), size=RESAMPLES)
    tables = (drawn @ met.reshape(len(units), -1)).reshape(RESAMPLES, len(labels), len(labels))
    alphas = np.sort([_alpha(table, labels, level) for table in tables])
    tail = (1 - confidence) / 2
    return Interval(alpha, percentile(alphas, tail), percentile(alphas, 1 - tail), f"Krippendorff's alpha, {level}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a judge said of rows that people have judged: right of those that pass and of those that fail."""

    passed_right: int
    passed: int
    failed_right: int
    failed: int

    @property
    def sensitivity(self) -> Interval:
        """The share of good answers that the judge passes."""
        return wilson(self.passed_right, self.passed)

    @property
    def specificity(self) -> Interval:
        """The share of bad answers that the judge fails."""
        return wilson(self.failed_right, self.failed)


def calibration(pairs: Sequence[tuple[bool, bool]]) -> Calibration:
    """Count what a judge and a person said of the same answers, in this order."""
    good = [judge for judge, person in pairs if person]
    bad = [judge for judge, person in pairs if not person]
    if not good or not bad:
        raise Invalid("a judge is calibrated by answers that people passed and others that they failed")
    return Calibration(passed_right=sum(good), passed=len(good), failed_right=bad.count(False), failed=len(bad))


def corrected_rate(passed: int, n: int, by: Calibration, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the rate that people would find, from the one that a judge found: (p + sp - 1) / (se + sp - 1).

    The interval has the variance of the rate and of the calibration (Lang and Reiczigel 2014). Raises Invalid for a
    judge that is no better than a coin.
    """
    if n < 1 or not 0 <= passed <= n:
        raise Invalid(f"a rate needs rows: {passed} of {n} cannot be one")
    plain = by.passed_right / by.passed + by.failed_right / by.failed - 1
    z = normal_quantile(0.5 + confidence / 2)
    rows, rate = n + z * z, (passed + z * z / 2) / (n + z * z)
    good, sensitivity = by.passed + 2, (by.passed_right + 1) / (by.passed + 2)
    bad, specificity = by.failed + 2, (by.failed_right + 1) / (by.failed + 2)
    better = sensitivity + specificity - 1
    if plain <= 0 or better <= 0:
        raise Invalid("this judge is no better than chance: nothing can be corrected", hint="mend its rubric first")
    middle = (rate + specificity - 1) / better
    of_good, of_bad = sensitivity * (1 - sensitivity) / good, specificity * (1 - specificity) / bad
    error = math.sqrt(rate * (1 - rate) / rows + middle**2 * of_good + (1 - middle) ** 2 * of_bad) / better
    middle += 2 * z * z * (middle * of_good - (1 - middle) * of_bad)
    estimate = min(1.0, max(0.0, (passed / n + by.failed_right / by.failed - 1) / plain))
    low, high = max(0.0, middle - z * error), min(1.0, middle + z * error)
    return Interval(estimate, min(low, estimate), max(high, estimate), "corrected for the judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBias:
    """What a judge of pairs does when the two answers change places.

    `consistent` is the share of rows on which it keeps to the same answer, `first` the share of the others on which it
    keeps to the first place; `test` says whether that is more than chance.
    """

    consistent: Interval
    first: Interval | None
    test: Test


def position_bias(rows: Sequence[tuple[str, str]]) -> PositionBias:
    """Measure it by verdicts `"first"`, `"second"` or `"tie"`, each as given and after the answers changed places."""
    if not rows:
        raise Invalid("position bias needs rows that were judged in both orders")
    other = {"first": "second", "second": "first", "tie": "tie"}
    unknown = {verdict for row in rows for verdict in row} - set(other)
    if unknown:
        raise Invalid(f"no verdict: {', '.join(sorted(unknown))}", hint="first, second or tie")
    consistent = sum(swapped == other[given] for given, swapped in rows)
    lean = [given if given != "tie" else swapped for given, swapped in rows if swapped != other[given]]
    first, moved = lean.count("first"), len(lean)
    p = min(1.0, 2 * fair_coin_cdf(min(first, moved - first), moved)) if 2 * first != moved else 1.0
    return PositionBias(
        consistent=wilson(consistent, len(rows)),
        first=wilson(first, moved) if moved else None,
        test=Test(p, "exact binomial"),
    )


def verbosity_bias(
    lengths: Sequence[float], judged: Sequence[float], people: Sequence[float] | None = None
) -> Interval:
    """Return how far longer answers are graded higher: Spearman's correlation of length and grade, from -1 to 1.

    With people's grades of the same answers it is that of length and of what the judge gives beyond them: longer
    answers may be better ones. The error is Bonett and Wright's.
    """
    extra = np.asarray(judged, dtype=np.float64)
    if people is not None:
        extra = extra - np.asarray(people, dtype=np.float64)
    if len(extra) < 4 or len(lengths) != len(extra):
        raise Invalid("verbosity bias needs at least four answers, each with its length and grade")
    one, two = _ranks(np.asarray(lengths, dtype=np.float64)), _ranks(extra)
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return Interval(0.0, -1.0, 1.0, "Spearman")
    rho = float(np.corrcoef(one, two)[0, 1])
    if abs(rho) > 1 - 1e-12:
        return Interval(math.copysign(1.0, rho), -1.0 if rho < 0 else 1.0, 1.0 if rho > 0 else -1.0, "Spearman")
    half = normal_quantile(0.5 + CONFIDENCE / 2) * math.sqrt((1 + rho * rho / 2) / (len(extra) - 3))
    return Interval(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), "Spearman")


def _ordered(labels: set[Hashable], *, numbers: bool) -> list[Hashable]:
    if not numbers:
        return sorted(labels, key=str)
    try:
        return sorted(labels, key=lambda label: float(str(label)))
    except ValueError:
        raise Invalid("grades must be numbers here", hint="without weights, or nominal, any label will do") from None


def _weights(labels: Sequence[Hashable], weights: Weights) -> Floats:
    """Return how much two labels agree, 1 where they are the same."""
    if weights == "none" or len(labels) < 2:
        return np.eye(len(labels))
    values = np.array([float(str(label)) for label in labels])
    apart = np.abs(values[:, None] - values[None, :]) / (values[-1] - values[0])
    return np.asarray(1 - (apart if weights == "linear" else apart**2), dtype=np.float64)


def _alpha(met: Floats, labels: Sequence[Hashable], level: Level) -> float:
    totals = met.sum(axis=1)
    n = float(totals.sum())
    apart = _apart(totals, labels, level)
    expected = float((np.outer(totals, totals) * apart).sum())
    if expected == 0:  # one label only: they agree, and chance would too
        return 1.0
    return 1 - (n - 1) * float((met * apart).sum()) / expected


def _apart(totals: Floats, labels: Sequence[Hashable], level: Level) -> Floats:
    if level == "nominal":
        return 1 - np.eye(len(labels))
    if level == "interval":
        values = np.array([float(str(label)) for label in labels])
    else:  # between two ranks lies what was rated between them, and half of what was rated with them
        values = np.cumsum(totals) - totals / 2
    return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)


def _ranks(values: Floats) -> Floats:
    """Return ranks from 1, equal values sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
