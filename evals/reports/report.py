"""The report: a comparison together with what a reader needs to trust and repeat it."""

from __future__ import annotations

from dataclasses import dataclass

from evals.compare import Comparison
from evals.gate import Decision
from evals.samples import Sample, as_text

LONGEST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One setting of the two runs compared."""

    name: str
    before: str
    after: str

    @property
    def same(self) -> bool:
        """Whether both runs agree on it."""
        return self.before == self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One comparison and where it comes from; `data_file` and a row's number are a place to point an editor at.

    `others` are the further metrics, `decision` is what a gate said, `notes` are what a reader must know besides.
    """

    name: str
    before: str
    after: str
    comparison: Comparison
    facts: tuple[Fact, ...]
    lineage: str
    run_id: str
    written: str
    data_file: str = ""
    others: tuple[Comparison, ...] = ()
    decision: Decision | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through; without one, whether nothing has regressed. The exit code says the same."""
        return self.comparison.passed if self.decision is None else self.decision.passed

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All metrics, the primary one first."""
        return (self.comparison, *self.others)


def line_of(data_file: str, sample: Sample) -> int:
    """Return the line of the data that a row stands on: a file of comma-separated values has a head."""
    return sample.number + (2 if data_file.endswith((".csv", ".tsv")) else 1)


def question(sample: Sample) -> str:
    """Return what was asked: the one input, or each by name."""
    asked = sample.inputs
    if len(asked) == 1:
        return clip(as_text(next(iter(asked.values()))))
    return clip("\n".join(f"{key}: {as_text(value)}" for key, value in asked.items()))


def clip(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text cut to a length a page can bear, saying that it was cut."""
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest:,} more characters)"
