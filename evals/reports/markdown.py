"""The report as Markdown, for a CI step summary or a comment: small enough for both, nothing in it is live."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.compare import Comparison, Pair
from evals.reports import words
from evals.reports.report import Report, clip, question

MARKER = "<!-- studiolo-eval -->"  # lets a later comment find and replace this one
LARGEST = 60_000  # characters; a comment may have 65,536, a step summary a megabyte
MOST_FLIPS = 30
LONGEST_CELL = 200
_LIVE = re.compile(r"[:<](?=\S)")  # of an address, an emoji or a tag; before a space they are read as they are

_SIGNS = {"regressed": "🔴", "improved": "🟢", "no detectable change": "⚪", "underpowered": "🟡"}
# Mark-up characters become entities; a zero-width space keeps names and numbers from becoming links that notify.
_QUIET = str.maketrans(
    {mark: f"&#{ord(mark)};" for mark in "\\`*_[]>|&~$"}
    | dict.fromkeys("\n\r\t", " ")
    | {"@": "@\u200b", "#": "#\u200b"}
)


def markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    comparison = report.comparison
    parts = [
        MARKER,
        _head(report),
        f"**{_escape(report.after)}** against **{_escape(report.before)}**",
        _escape(words.sentence(comparison)),
        words.advice(comparison),
        *(f"> {_escape(caution)}" for caution in (*report.notes, *words.cautions(comparison))),
        _numbers(report),
        _others(report),
        _slices(comparison),
        _flips("Broke" if comparison.measured.binary else "Got worse", comparison.losses, comparison),
        _flips("Fixed" if comparison.measured.binary else "Got better", comparison.gains, comparison),
        _left_out(comparison),
        _settings(report),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text if len(text) <= LARGEST else text[:LARGEST].rpartition("\n")[0] + "\n\nCut here; the page has it all.\n"


def _head(report: Report) -> str:
    headline = f"{_SIGNS[report.comparison.verdict]} {words.headline(report.comparison)}"
    made = report.decision
    if made is None:
        return f"## {headline}"
    lines = [f"## {'✅' if made.passed else '❌'} {made.word}", f"**{headline}**"]
    lines += [f"- ❌ {_escape(reason)}" for reason in made.failures]
    return (
        "\n\n".join(lines[:2]) + "\n\n" + "\n".join([*lines[2:], *(f"- ⚠️ {_escape(told)}" for told in made.warnings)])
    )


def _others(report: Report) -> str:
    if not report.others:
        return ""
    rows = [
        (
            other.metric,
            words.headline(other),
            words.change(other.measured.change.estimate, other),
            words.span(other.measured.change, other),
            words.p_value(other.p),
        )
        for other in report.comparisons
    ]
    return "### All metrics\n\n" + _table(("metric", "verdict", "change", "95 % interval", "corrected p"), rows)


def _slices(comparison: Comparison) -> str:
    rows = [
        (
            part.name,
            f"{part.rows:,}",
            words.change(part.measured.change.estimate, comparison),
            words.span(part.measured.change, comparison),
            words.p_value(part.p),
        )
        for part in comparison.slices[:MOST_FLIPS]
    ]
    return "### Slices\n\n" + _table(("slice", "rows", "change", "95 % interval", "corrected p"), rows) if rows else ""


def _numbers(report: Report) -> str:
    comparison, measured = report.comparison, report.comparison.measured
    return _table(
        (comparison.metric, "estimate", "95 % interval"),
        [
            (
                report.before,
                words.level(measured.before.estimate, comparison),
                words.levels(measured.before, comparison),
            ),
            (report.after, words.level(measured.after.estimate, comparison), words.levels(measured.after, comparison)),
            ("change", words.change(measured.change.estimate, comparison), words.span(measured.change, comparison)),
        ],
    )


def _flips(title: str, pairs: Sequence[Pair], comparison: Comparison) -> str:
    if not pairs:
        return ""
    rows = [
        (
            pair.after.label,
            question(pair.after),
            pair.after.expected or "",
            f"{words.score(pair.old, comparison)}: {pair.before.answer}",
            f"{words.score(pair.new, comparison)}: {pair.after.answer}",
        )
        for pair in pairs[:MOST_FLIPS]
    ]
    more = f"\n\n{len(pairs) - MOST_FLIPS:,} more." if len(pairs) > MOST_FLIPS else ""
    return f"### {title} ({len(pairs):,})\n\n" + _table(("row", "question", "expected", "before", "after"), rows) + more


def _left_out(comparison: Comparison) -> str:
    rows = [
        *((row.after.label, row.reason) for row in comparison.unscored),
        *((sample.label, "only before") for sample in comparison.only_before),
        *((sample.label, "only after") for sample in comparison.only_after),
    ]
    if not rows:
        return ""
    more = f"\n\n{len(rows) - MOST_FLIPS:,} more." if len(rows) > MOST_FLIPS else ""
    return f"### Left out ({len(rows):,})\n\n" + _table(("row", "why"), rows[:MOST_FLIPS]) + more


def _settings(report: Report) -> str:
    rows = [(fact.name, fact.before, fact.after) for fact in report.facts]
    table = _table(("", report.before, report.after), rows)
    return f"<details><summary>Settings and lineage</summary>\n\n{table}\n\n</details>" if rows else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    shown = [[_escape(clip(cell, LONGEST_CELL)) for cell in cells] for cells in (head, *rows)]
    lines = [shown[0], ["---"] * len(head), *shown[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escape(text: str) -> str:
    """Return text in which no mark-up, mention, link or image can come to life."""
    quiet = text.translate(_QUIET).replace("www.", "www&#46;")
    return _LIVE.sub(lambda mark: f"&#{ord(mark[0])};", quiet)
