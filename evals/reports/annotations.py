"""The report as GitHub's annotations: errors at the lines of the data, the worst nine and how many more there are."""

from __future__ import annotations

from evals.compare import Comparison, Pair
from evals.gate import is_critical
from evals.reports import words
from evals.reports.report import Report, clip, line_of, question

MOST = 9  # GitHub shows ten of a kind a step, and drops the rest without a word
LONGEST_TEXT = 500


def github(report: Report) -> str:
    """Return workflow commands, one a line: errors where the report failed, else warnings.

    Each says what broke at the row's line of the data; the last says how many more there are.
    """
    kind = "warning" if report.passed else "error"
    flips = [
        (comparison, pair) for comparison in report.comparisons for pair in comparison.losses if _tells(report, pair)
    ]
    flips.sort(key=lambda flip: (not is_critical(flip[1].after), flip[1].change))
    lines = [_flip(kind, report, *flip) for flip in flips[:MOST]]
    if more := len(flips) - MOST:
        told = f"{more:,} more rows got worse; the report has them all" if more > 0 else ""
        lines += [_command(kind, {"title": "and more"}, told)] if told else []
    return "".join(f"{line}\n" for line in (_verdict(report), *lines))


def _tells(report: Report, pair: Pair) -> bool:
    """Whether a row is worth an annotation: all that broke where the report failed, else critical ones."""
    return not report.passed or is_critical(pair.after)


def _verdict(report: Report) -> str:
    told = words.decision(report.decision) if report.decision else words.headline(report.comparison)
    text = f"{told}\n{words.sentence(report.comparison)}"
    return _command("notice" if report.passed else "error", {"title": f"{report.after}: {told.splitlines()[0]}"}, text)


def _flip(kind: str, report: Report, comparison: Comparison, pair: Pair) -> str:
    place = {"file": report.data_file, "line": str(line_of(report.data_file, pair.after))} if report.data_file else {}
    before, after = (words.score(value, comparison) for value in (pair.old, pair.new))
    title = f"{pair.after.label}: {comparison.metric} {before} before, {after} now"
    answers = f"expected: {pair.after.expected}\nbefore: {pair.before.answer}\nnow: {pair.after.answer}"
    return _command(kind, {**place, "title": title}, f"{question(pair.after)}\n{answers}")


def _command(kind: str, properties: dict[str, str], text: str) -> str:
    told = ",".join(f"{key}={_escape(clip(value, 200), properties=True)}" for key, value in properties.items())
    return f"::{kind} {told}::{_escape(clip(text, LONGEST_TEXT))}"


def _escape(text: str, *, properties: bool = False) -> str:
    """Escape as GitHub's runner reads it back; a line break would begin another command."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text.replace(":", "%3A").replace(",", "%2C") if properties else text
