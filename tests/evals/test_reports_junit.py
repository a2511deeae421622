from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace

from evals.reports.junit import junit
from evals.reports.report import Report
from evals.samples import Sample

Sampled = Callable[[str], tuple[Sample, ...]]
Reported = Callable[[Sequence[Sample], Sequence[Sample]], Report]


def suite(report: Report) -> ET.Element:
    found = ET.fromstring(junit(report)).find("testsuite")  # noqa: S314 - our own
    assert found is not None
    return found


def test_a_regression_fails_the_verdict_and_the_rows_that_broke(sampled: Sampled, reported: Reported) -> None:
    found = suite(reported(sampled("+" * 9), sampled("-" * 8 + "+")))
    failed = [case.get("name") for case in found.iter("testcase") if case.find("failure") is not None]
    assert failed == ["verdict", *(f"q{number:02}" for number in range(8))]
    assert found.get("failures") == "9"


def test_rows_that_broke_fail_nothing_when_the_verdict_does_not(sampled: Sampled, reported: Reported) -> None:
    found = suite(reported(sampled("++-"), sampled("-++")))
    assert found.get("failures") == "0"
    assert found.get("skipped") == "1"  # underpowered
    assert [case.get("name") for case in found.iter("testcase") if case.find("system-out") is not None] == [
        "verdict",
        "q00",
    ]


def test_rows_without_a_score_are_errors_and_rows_without_a_partner_skipped(
    sampled: Sampled, reported: Reported
) -> None:
    found = suite(reported(sampled("+++"), sampled("+e++")))
    assert (found.get("errors"), found.get("skipped")) == ("1", "2")
    assert found.get("tests") == "5"


def test_properties_carry_verdict_and_lineage(sampled: Sampled, reported: Reported) -> None:
    properties = {
        item.get("name"): item.get("value") for item in suite(reported(sampled("+-"), sampled("+-"))).iter("property")
    }
    assert properties["verdict"] == "underpowered"
    assert properties["before.flow"] == "demo:1"
    assert properties["after.flow"] == "demo:2"


def test_a_case_points_at_its_line_of_the_data(sampled: Sampled, reported: Reported) -> None:
    case = [*suite(reported(sampled("+-"), sampled("+-"))).iter("testcase")][2]
    assert (case.get("file"), case.get("line")) == ("questions.jsonl", "2")


def test_characters_that_xml_cannot_carry_do_not_break_it(sampled: Sampled, reported: Reported) -> None:
    after = tuple(replace(sample, answer="\x00\x1b[31m]]> & <b> \ud800", name="\x07q") for sample in sampled("--"))
    found = suite(reported(sampled("++"), after))
    assert "]]> & <b>" in "".join(found.itertext())


def test_the_order_of_elements_is_what_junit_readers_expect(sampled: Sampled, reported: Reported) -> None:
    found = suite(reported(sampled("++"), sampled("-+")))
    assert [child.tag for child in found] == ["properties", "testcase", "testcase", "testcase"]
