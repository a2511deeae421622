"""What a sweep searches, and when it ends a trial: `from studiolo.sweep import Choice, Uniform, BanditPolicy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    type: ClassVar[str] = "choice"
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any number between two, each as likely."""

    type: ClassVar[str] = "uniform"
    min_value: float
    max_value: float


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A number whose logarithm is uniform; the ends are logarithms."""

    type: ClassVar[str] = "loguniform"
    min_value: float
    max_value: float


@dataclass(frozen=True, slots=True)
class QUniform:
    """As uniform, in steps of `q`."""

    type: ClassVar[str] = "quniform"
    min_value: float
    max_value: float
    q: float


@dataclass(frozen=True, slots=True)
class QLogUniform:
    """As loguniform, in steps of `q`."""

    type: ClassVar[str] = "qloguniform"
    min_value: float
    max_value: float
    q: float


@dataclass(frozen=True, slots=True)
class Normal:
    """A number near `mu`."""

    type: ClassVar[str] = "normal"
    mu: float
    sigma: float


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A number whose logarithm is near `mu`."""

    type: ClassVar[str] = "lognormal"
    mu: float
    sigma: float


@dataclass(frozen=True, slots=True)
class QNormal:
    """As normal, in steps of `q`."""

    type: ClassVar[str] = "qnormal"
    mu: float
    sigma: float
    q: float


@dataclass(frozen=True, slots=True)
class QLogNormal:
    """As lognormal, in steps of `q`."""

    type: ClassVar[str] = "qlognormal"
    mu: float
    sigma: float
    q: float


@dataclass(frozen=True, slots=True)
class Randint:
    """A whole number from 0, below `upper`."""

    type: ClassVar[str] = "randint"
    upper: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BanditPolicy:
    """Ends trials that are worse than the best by more than a factor, or an amount."""

    type: ClassVar[str] = "bandit"
    slack_factor: float | None = None
    slack_amount: float | None = None
    evaluation_interval: int = 1
    delay_evaluation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianStoppingPolicy:
    """Ends trials whose best so far is worse than the median of the others' running averages."""

    type: ClassVar[str] = "median_stopping"
    evaluation_interval: int = 1
    delay_evaluation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncationSelectionPolicy:
    """Ends the worst part of the trials each time it looks."""

    type: ClassVar[str] = "truncation_selection"
    truncation_percentage: int
    evaluation_interval: int = 1
    delay_evaluation: int = 0


SPACES = (Choice, Uniform, LogUniform, QUniform, QLogUniform, Normal, LogNormal, QNormal, QLogNormal, Randint)
POLICIES = (BanditPolicy, MedianStoppingPolicy, TruncationSelectionPolicy)
