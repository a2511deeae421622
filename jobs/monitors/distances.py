"""How far two distributions are apart, and what says that they are the same: by SciPy, defined as Azure ML has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workspace.errors import MissingExtra

if TYPE_CHECKING:
    import numpy

    Numbers = numpy.ndarray[Any, Any]

SMALLEST_DEVIATION = 0.001  # by which a Wasserstein distance is divided, at least


def edges(reference: Numbers, production: Numbers) -> Numbers:
    """Return the edges of bins of equal width over both, as many as Sturges says of the smaller one."""
    import numpy

    low = float(min(reference.min(), production.min()))
    high = float(max(reference.max(), production.max()))
    if low == high:
        return numpy.array([low, low + (abs(low) or 1.0) * 0.01])
    return numpy.linspace(low, high, math.ceil(math.log2(min(len(reference), len(production))) + 1) + 1)


def jensen_shannon(reference: Numbers, production: Numbers) -> float:
    """Return the Jensen-Shannon distance, base 2, of two lists of counts: 0 for the same shares, 1 for no overlap."""
    from scipy.spatial.distance import jensenshannon

    found = float(jensenshannon(reference, production, base=2))
    return 0.0 if math.isnan(found) else found  # the root of what rounding has made less than nothing


def population_stability(reference: Numbers, production: Numbers) -> float:
    """Return the population stability index of two lists of counts; each count is one more, so that none is zero."""
    import numpy

    before = (reference + 1) / reference.sum()
    after = (production + 1) / production.sum()
    return float(numpy.sum((after - before) * numpy.log(after / before)))


def wasserstein(reference: Numbers, production: Numbers) -> float:
    """Return the Wasserstein distance of values, in standard deviations of the reference."""
    from scipy.stats import wasserstein_distance

    deviation = float(reference.std(ddof=1)) if len(reference) > 1 else 0.0
    return float(wasserstein_distance(reference, production)) / max(deviation, SMALLEST_DEVIATION)


def kolmogorov_smirnov(reference: Numbers, production: Numbers) -> float:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test: small where the values are of different kinds."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, production).pvalue)


def chi_squared(reference: Numbers, production: Numbers) -> float:
    """Return the p-value of Pearson's chi-squared test, where the reference's shares are what is expected."""
    import numpy
    from scipy.stats import chisquare

    if len(reference) < 2:
        return 1.0
    expected = reference / reference.sum() * production.sum()
    if bool(numpy.any((expected == 0) & (production > 0))):
        return 0.0  # a word that was never there before
    there = expected > 0
    return float(chisquare(production[there], expected[there]).pvalue) if there.sum() > 1 else 1.0


NUMERICAL = {
    "jensen_shannon_distance": ("counts", jensen_shannon),
    "normalized_wasserstein_distance": ("values", wasserstein),
    "population_stability_index": ("counts", population_stability),
    "two_sample_kolmogorov_smirnov_test": ("values", kolmogorov_smirnov),
}
CATEGORICAL = {
    "jensen_shannon_distance": jensen_shannon,
    "population_stability_index": population_stability,
    "pearsons_chi_squared_test": chi_squared,
}


def needed() -> None:
    """Raise MissingExtra where SciPy is not installed."""
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise MissingExtra("monitoring drift", hint="pip install 'studiolo[monitors]'") from None
