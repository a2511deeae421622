"""The report as JUnit XML: it fails exactly when the gate does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from evals.compare import Comparison, Pair, Unscored
from evals.reports import words
from evals.reports.report import Report, clip, line_of, question
from evals.samples import Sample

LONGEST_TEXT = 2_000
MOST_PASSED = 5_000  # cases that have nothing to say; beyond, a reader of JUnit would choke on them
# What XML 1.0 cannot carry, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """Return one test suite: the verdict as its first case, then a case for every row.

    Rows that broke fail only when the verdict does; otherwise they say so in `system-out`. Rows without a score are
    errors, an underpowered verdict is skipped, rows without a partner are skipped too.
    """
    comparison = report.comparison
    cases = [_verdict(report), *_rows(report)]
    kinds = [child.tag for case in cases for child in case]
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
        "time": "0",
    }
    root = Element("testsuites", {"name": "studiolo eval compare", **counts})
    suite = SubElement(root, "testsuite", {"name": _clean(f"{report.name} {comparison.metric}"), **counts})
    properties = SubElement(suite, "properties")
    for name, value in _properties(report):
        SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})
    suite.extend(cases)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _verdict(report: Report) -> Element:
    comparison = report.comparison
    case = _case(report, "verdict")
    if not report.passed:
        why = words.decision(report.decision) if report.decision else words.headline(comparison)
        _say(
            case, "failure", why.replace("\n- ", ": ", 1).replace("\n- ", "; "), words.sentence(comparison), kind="gate"
        )
    elif comparison.verdict == "underpowered":
        _say(case, "skipped", words.headline(comparison), words.advice(comparison))
    lines = [words.headline(comparison), words.sentence(comparison), *report.notes, *words.cautions(comparison)]
    lines += report.decision.warnings if report.decision else ()
    if len(comparison.pairs) > MOST_PASSED:
        lines.append(f"Rows that did not get worse are named up to {MOST_PASSED:,}.")
    SubElement(case, "system-out").text = _clean("\n".join(lines))
    return case


def _rows(report: Report) -> Iterable[Element]:
    comparison = report.comparison
    passed = 0
    for pair in comparison.pairs:
        passed += pair.change >= 0
        if pair.change < 0 or passed <= MOST_PASSED:
            yield _pair(report, pair)
    for row in comparison.unscored:
        yield _unscored(report, row)
    for which, samples in ((report.before, comparison.only_before), (report.after, comparison.only_after)):
        for sample in samples:
            case = _case(report, sample.label, sample)
            _say(case, "skipped", f"only in {which}", question(sample))
            yield case


def _pair(report: Report, pair: Pair) -> Element:
    case = _case(report, pair.after.label, pair.after)
    if pair.change < 0:
        answers = f"expected: {pair.after.expected}\nbefore: {pair.before.answer}\nafter: {pair.after.answer}"
        told = f"{question(pair.after)}\n{answers}"
        if report.passed:
            SubElement(case, "system-out").text = _clean(f"got worse\n{told}")
        else:
            before, after = (words.score(value, report.comparison) for value in (pair.old, pair.new))
            _say(case, "failure", f"{before} before, {after} now", told, kind="flip")
    return case


def _unscored(report: Report, row: Unscored) -> Element:
    case = _case(report, row.after.label, row.after)
    _say(case, "error", row.reason, question(row.after), kind="unscored")
    return case


def _case(report: Report, name: str, sample: Sample | None = None) -> Element:
    attributes = {"classname": _clean(f"{report.name}.{report.comparison.metric}"), "name": _clean(name), "time": "0"}
    if sample and report.data_file:
        attributes |= {"file": _clean(report.data_file), "line": str(line_of(report.data_file, sample))}
    return Element("testcase", attributes)


def _say(case: Element, tag: str, message: str, text: str, *, kind: str | None = None) -> None:
    attributes = {"message": _clean(message)} | ({"type": kind} if kind else {})
    SubElement(case, tag, attributes).text = _clean(text)


def _properties(report: Report) -> Iterable[tuple[str, str]]:
    comparison: Comparison = report.comparison
    measured = comparison.measured
    yield from (
        ("verdict", comparison.verdict),
        ("metric", comparison.metric),
        ("change", repr(measured.change.estimate)),
        ("change.low", repr(measured.change.low)),
        ("change.high", repr(measured.change.high)),
        ("p", repr(measured.test.p)),
        ("rows", str(len(comparison.pairs))),
        ("visible", repr(measured.visible)),
        ("margin", repr(comparison.margin)),
    )
    for fact in report.facts:
        yield f"before.{fact.name}", fact.before
        yield f"after.{fact.name}", fact.after


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", clip(text, LONGEST_TEXT))
