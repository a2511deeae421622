"""Whether a model may go on, by its report: one decision serves the text, the report and the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    from finetune.responsible.report import Report

_KEYS = ("performance", "difference", "ratio", "columns", "certain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a model must keep to.

    `performance` are metrics of all rows that must be reached (for errors: not passed), `difference` how far groups may
    lie apart at most, `ratio` how near the least must come to the most: 0.8 is the four-fifths rule. With `certain` a
    difference counts only where its whole interval lies beyond the limit.
    """

    performance: Mapping[str, float] = field(default_factory=dict)
    difference: Mapping[str, float] = field(default_factory=dict)
    ratio: Mapping[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    certain: bool = False

    def __post_init__(self) -> None:
        if not self.performance and not self.difference and not self.ratio:
            hint = "difference: {selection_rate: 0.1}, performance: {accuracy: 0.8}, or ratio: {selection_rate: 0.8}"
            raise Invalid("the gate has no rule", hint=hint)


@dataclass(frozen=True, slots=True)
class Decision:
    """What speaks against the model, and what a reader should know."""

    failures: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.failures

    @property
    def word(self) -> str:
        """The decision in two words."""
        return "gate passed" if self.passed else "gate failed"


LOWER_IS_BETTER = ("rmse", "mae", "median_absolute_error", "mape", "log_loss", "brier", "hamming_loss")


def read(block: Any) -> Rules:
    """Read rules: `{difference: {selection_rate: 0.1}, performance: {accuracy: 0.8}}`."""
    if not isinstance(block, Mapping):
        raise Invalid("rules are a mapping", hint="difference: {selection_rate: 0.1}")
    for key in block:
        if key not in _KEYS:
            raise Invalid(f"the gate has no rule {key!r}", hint=did_you_mean(str(key), _KEYS))
    for key in _KEYS[:3]:
        limits = block.get(key, {})
        if not isinstance(limits, Mapping) or not all(_is_number(each) for each in limits.values()):
            raise Invalid(f"{key} is a mapping from metrics to numbers, not {limits!r}")
    columns = block.get("columns", ())
    return Rules(**{**block, "columns": (columns,) if isinstance(columns, str) else tuple(columns)})


def decide(report: Report, rules: Rules) -> Decision:
    """Decide. A metric that the report does not have fails: nobody has looked."""
    failures: list[str] = []
    warnings: list[str] = []
    for metric, limit in rules.performance.items():
        value = report.metrics.get(metric)
        worse = "above" if metric in LOWER_IS_BETTER else "below"
        if value is None:
            failures.append(f"{metric}: not measured; {_known(report.metrics)}")
        elif (value > limit) if worse == "above" else (value < limit):
            failures.append(f"{metric} is {value:.4g}, {worse} {limit:g}")
    chosen = [each for each in report.sensitive if not rules.columns or each.column in rules.columns]
    if (rules.difference or rules.ratio) and not chosen:
        failures.append("no groups were measured: name sensitive columns in the report")
    for sensitive in chosen:
        _apart(sensitive, rules, failures, warnings)
        if small := [f"{each.name} ({each.rows:,})" for each in sensitive.groups if each.is_small]:
            warnings.append(f"{sensitive.column}: too small to be compared: {', '.join(small)}")
    return Decision(tuple(failures), tuple(warnings))


def _apart(sensitive: Any, rules: Rules, failures: list[str], warnings: list[str]) -> None:
    for metric, limit in rules.difference.items():
        found = sensitive.disparity(metric)
        if found is None:
            failures.append(f"{sensitive.column}: no two groups can be compared by {metric}")
            continue
        told = f"{sensitive.column}: {metric} differs by {found.difference:.3g} ({found.low:.3g} to {found.high:.3g})"
        told += f" between {found.most} and {found.least}, more than {limit:g}"
        if found.low > limit or (found.difference > limit and not rules.certain):
            failures.append(told)
        elif found.difference > limit:
            warnings.append(f"{told}, but not for certain")
    for metric, limit in rules.ratio.items():
        found = sensitive.disparity(metric)
        if found is None:
            failures.append(f"{sensitive.column}: no two groups can be compared by {metric}")
        elif not found.ratio >= limit:
            told = f"{sensitive.column}: {metric} of {found.least} is {found.ratio:.3g} of that of {found.most}"
            failures.append(f"{told}, less than {limit:g}")


def _known(metrics: Mapping[str, float]) -> str:
    return f"known: {', '.join(metrics)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
