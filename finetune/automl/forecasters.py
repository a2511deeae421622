"""Forecasters of one series: what comes next of its own values alone, by NumPy and statsmodels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from workspace.errors import Invalid

Numbers = Any
Forecaster = Callable[[Numbers, int, int], Numbers]  # values, steps, season
_LAST = 1500  # values that smoothing and ARIMA look at: older ones say little and cost much
_LONGEST_SEASON = 24  # that smoothing has a state for each step of; a longer one is taken out before
_HARMONICS = 4
_ORDERS = ((1, 0, 0), (2, 0, 2), (0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 1, 0))
ABSENT = {
    "prophet": "Prophet is no package of Studiolo's: exponential_smoothing and auto_arima know trends and seasons",
    "tcn_forecaster": "there is no neural forecaster here: light_gbm on lags takes its place",
}


def naive(values: Numbers, steps: int, _season: int) -> Numbers:
    """Say the last value again."""
    return np.full(steps, values[-1])


def seasonal_naive(values: Numbers, steps: int, season: int) -> Numbers:
    """Say the last season again."""
    last = values[-season:] if len(values) >= season else values[-1:]
    return np.resize(last, steps)


def average(values: Numbers, steps: int, season: int) -> Numbers:
    """Say the mean of the last seasons."""
    return np.full(steps, values[-max(season, 2) * 3 :].mean())


def seasonal_average(values: Numbers, steps: int, season: int) -> Numbers:
    """Say the mean of each place in the last few seasons."""
    times = min(4, len(values) // season)
    if season < 2 or times < 1:
        return average(values, steps, season)
    return np.resize(values[-season * times :].reshape(times, season).mean(axis=0), steps)


def exponential_smoothing(values: Numbers, steps: int, season: int) -> Numbers:
    """Smooth level, damped trend and season; a long season is taken out first and added again."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    values = values[-max(_LAST, 4 * season) :]
    profile = np.zeros(max(1, season))
    if season > _LONGEST_SEASON and len(values) >= 2 * season:
        profile = _profile(values, season)
    rest = values - np.resize(profile, len(values))
    inside = season if 1 < season <= _LONGEST_SEASON and len(values) >= 2 * season else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ExponentialSmoothing(
            rest, trend="add", damped_trend=True, seasonal="add" if inside else None, seasonal_periods=inside,
            initialization_method="estimated",
        ).fit(minimize_kwargs={"options": {"maxiter": 60}})  # fmt: skip
        found = np.asarray(fitted.forecast(steps))
    return found + np.resize(np.roll(profile, -len(values) % len(profile)) if season > 1 else profile, steps)


def theta(values: Numbers, steps: int, season: int) -> Numbers:
    """Draw half of the trend on, and smooth the rest."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    values = values[-max(_LAST, 4 * season) :]
    period = season if season > 1 and len(values) >= 2 * season + 2 else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(
            ThetaModel(values, period=period, deseasonalize=period > 1, method="additive").fit().forecast(steps)
        )


def auto_arima(values: Numbers, steps: int, season: int) -> Numbers:
    """Take the order with the best information criterion, with a season of sines."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    values = values[-_LAST:]
    waves = _waves(np.arange(len(values) + steps), season)
    best: tuple[float, Any] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for order in _ORDERS:
            model = SARIMAX(
                values, exog=waves[: len(values)] if waves.size else None, order=order,
                trend="c" if order[1] == 0 else None, enforce_stationarity=False, enforce_invertibility=False,
                simple_differencing=False,
            )  # fmt: skip
            fitted = model.fit(disp=0, maxiter=25)
            if best is None or fitted.aic < best[0]:
                best = (float(fitted.aic), fitted)
        assert best is not None  # noqa: S101  there are orders
        ahead = waves[len(values) :] if waves.size else None
        return np.asarray(best[1].forecast(steps, exog=ahead))


FORECASTERS: Mapping[str, Forecaster] = {
    "seasonal_naive": seasonal_naive,
    "naive": naive,
    "seasonal_average": seasonal_average,
    "average": average,
    "exponential_smoothing": exponential_smoothing,
    "theta": theta,
    "auto_arima": auto_arima,
}


def refuse_absent(allowed: tuple[str, ...]) -> list[str]:
    """Return what is told of forecasters that are not here; Invalid where nothing else is allowed."""
    absent = [name for name in allowed if name in ABSENT]
    if absent and len(absent) == len(allowed):
        raise Invalid(f"{absent[0]!r} cannot be tried", hint=ABSENT[absent[0]])
    return [f"{name!r} is not tried: {ABSENT[name]}" for name in absent]


def _profile(values: Numbers, season: int) -> Numbers:
    """Return by how much each place in a season is above the mean; it sums to nothing."""
    times = len(values) // season
    found = values[-season * times :].reshape(times, season).mean(axis=0)
    shift = len(values) % season
    return np.roll(found - found.mean(), shift)


def _waves(places: Numbers, season: int) -> Numbers:
    if season < 2:
        return np.zeros((len(places), 0))
    count = max(1, min(_HARMONICS, season // 2 - 1 if season > 3 else 1))
    angles = 2 * np.pi * np.outer(places, np.arange(1, count + 1)) / season
    return np.hstack([np.sin(angles), np.cos(angles)])
