"""The report as a page: one file, nothing fetched, everything from outside escaped, no script but ours for the keys."""

from __future__ import annotations

import base64
import difflib
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.compare import Comparison, Pair
from evals.reports import words
from evals.reports.report import Report, clip, question
from evals.samples import Sample
from evals.statistics.intervals import Interval
from workspace.paper import template

MOST_ROWS = 200
MOST_OPENED = 20  # rows that are seen at once; the plots below are no day's march away
MOST_SLICES = 20
LONGEST_DIFF = 600  # words

_SYMBOLS = {"regressed": "▼", "improved": "▲", "no detectable change": "=", "underpowered": "?"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, and whether the other answer lacks it."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval on an axis from 0 to 100."""

    label: str
    low: float
    middle: float
    high: float
    numbers: str
    bounds: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Ticks as (place, text), the bars above them, and the band of changes too small to matter."""

    ticks: tuple[tuple[float, str], ...]
    bars: tuple[Bar, ...]
    zero: float | None = None
    band: tuple[float, float] | None = None


# The keys: j and k go to the next and the last row, g and G to the first and the last one.
SCRIPT = """
const rows = [...document.querySelectorAll('.flip')];
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = {j: at + 1, k: at < 0 ? rows.length - 1 : at - 1, g: 0, G: rows.length - 1}[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
  row.closest('details')?.setAttribute('open', '');
  row.focus({preventScroll: true});
  row.scrollIntoView({block: 'center'});
});
"""


def page(report: Report) -> str:
    """Return the whole page as HTML."""
    comparison = report.comparison
    return template("evals.reports", "report.html.jinja2").render(
        report=report,
        comparison=comparison,
        words=words,
        script=SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
        slices=_slices(comparison),
        symbol=_SYMBOLS[comparison.verdict],
        tone=comparison.verdict.split()[0],
        levels=_levels(report),
        change=_change(comparison),
        shares=_shares(comparison),
        losses=[_row(pair) for pair in comparison.losses[:MOST_ROWS]],
        gains=[_row(pair) for pair in comparison.gains[:MOST_ROWS]],
        without_score=[(row.after.label, question(row.after), row.reason) for row in comparison.unscored],
        only_before=[_alone(sample) for sample in comparison.only_before],
        only_after=[_alone(sample) for sample in comparison.only_after],
        most=MOST_ROWS,
        opened=MOST_OPENED,
        question=question,
        clip=clip,
    )


def word_diff(before: str, after: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Split two texts into what they share and what only one of them has, word by word."""
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    if max(len(old), len(new)) > 2 * LONGEST_DIFF:
        return (Piece(before, before != after),), (Piece(after, before != after),)
    left: list[Piece] = []
    right: list[Piece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        left.append(Piece("".join(old[a:b]), kind != "equal"))
        right.append(Piece("".join(new[c:d]), kind != "equal"))
    return tuple(piece for piece in left if piece.text), tuple(piece for piece in right if piece.text)


def _row(pair: Pair) -> dict[str, Any]:
    before, after = word_diff(clip(pair.before.answer or ""), clip(pair.after.answer or ""))
    return {"pair": pair, "before": before, "after": after}


def _alone(sample: Sample) -> tuple[str, str, str]:
    return sample.label, question(sample), clip(sample.answer or sample.error or "")


def _levels(report: Report) -> Axis:
    comparison = report.comparison
    intervals = ((report.before, comparison.measured.before), (report.after, comparison.measured.after))
    low = min(0.0, *(interval.low for _, interval in intervals))
    high = max(1.0, *(interval.high for _, interval in intervals))
    bars = tuple(
        _bar(
            label, interval, low, high, (words.level(interval.estimate, comparison), words.levels(interval, comparison))
        )
        for label, interval in intervals
    )
    ticks = tuple((_place(value, low, high), words.tick(value, comparison)) for value in (0.0, 0.25, 0.5, 0.75, 1.0))
    return Axis(ticks, tuple(bars))


def _change(comparison: Comparison) -> Axis:
    interval = comparison.measured.change
    step = _step(max(abs(interval.low), abs(interval.high), 1.5 * comparison.margin))
    reach = 2 * step
    numbers = (words.change(interval.estimate, comparison), words.span(interval, comparison))
    bar = _bar("Change", interval, -reach, reach, numbers)
    ticks = tuple(
        (_place(value, -reach, reach), words.change_tick(value, comparison))
        for value in (-reach, -step, 0.0, step, reach)
    )
    band = (_place(-comparison.margin, -reach, reach), _place(comparison.margin, -reach, reach))
    return Axis(ticks, (bar,), zero=50.0, band=band)


def _slices(comparison: Comparison) -> Axis | None:
    """Return the changes of the slices, the worst first, on an axis of their own."""
    parts = comparison.slices[:MOST_SLICES]
    if not parts:
        return None
    bounds = [abs(value) for part in parts for value in (part.measured.change.low, part.measured.change.high)]
    step = _step(max([1.5 * comparison.margin, *(value for value in bounds if math.isfinite(value))]))
    reach = 2 * step
    bars = []
    for part in parts:
        change = part.measured.change
        numbers = words.change(change.estimate, comparison), f"{words.p_value(part.p)}, {part.rows:,} rows"
        bars.append(_bar(part.name, change, -reach, reach, numbers))
    ticks = tuple((_place(v, -reach, reach), words.change_tick(v, comparison)) for v in (-reach, 0.0, reach))
    band = (_place(-comparison.margin, -reach, reach), _place(comparison.margin, -reach, reach))
    return Axis(ticks, tuple(bars), zero=50.0, band=band)


def _step(farthest: float) -> float:
    """Return the smallest round step of which two reach as far."""
    steps = (scale * size for scale in (0.001, 0.01, 0.1) for size in (1, 2, 2.5, 5))
    return next((step for step in steps if 2 * step >= farthest * 1.05), farthest)


def _bar(label: str, interval: Interval, low: float, high: float, numbers: tuple[str, str]) -> Bar:
    left, middle, right = (_place(value, low, high) for value in (interval.low, interval.estimate, interval.high))
    return Bar(label, left, middle, right, *numbers)


def _place(value: float, low: float, high: float) -> float:
    return round(min(100.0, max(0.0, 100 * (value - low) / (high - low))), 3)


def _shares(comparison: Comparison) -> list[tuple[str, str, int, float]]:
    """Return (tone, what, count, percent) of the rows that broke, passed, failed and were fixed."""
    lost, won, total = len(comparison.losses), len(comparison.gains), len(comparison.pairs)
    if comparison.measured.binary:
        both = round(comparison.measured.before.estimate * total) - lost
        parts: Sequence[tuple[str, str, int]] = (
            ("bad", "broke", lost),
            ("kept", "passed in both", both),
            ("none", "failed in both", total - both - lost - won),
            ("good", "fixed", won),
        )
    else:
        parts = (("bad", "got worse", lost), ("kept", "stayed", total - lost - won), ("good", "got better", won))
    return [(tone, what, count, round(100 * count / total, 3)) for tone, what, count in parts]
