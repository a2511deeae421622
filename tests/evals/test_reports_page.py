from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from evals.reports.page import SCRIPT, page, word_diff
from evals.reports.report import Fact, Report
from evals.samples import Sample, Score

Sampled = Callable[[str], tuple[Sample, ...]]
Reported = Callable[[Sequence[Sample], Sequence[Sample]], Report]

ATTACK = "</div></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>{{ 7*7 }}"


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def elements(html: str) -> Elements:
    parser = Elements()
    parser.feed(html)
    return parser


def test_nothing_from_outside_comes_to_life(sampled: Sampled, reported: Reported) -> None:
    before, after = (
        tuple(
            replace(s, name=ATTACK, inputs={ATTACK: ATTACK}, answer=f"{s.answer}{ATTACK}", expected=ATTACK)
            for s in side
        )
        for side in (sampled("++-+"), sampled("+-+e"))
    )
    facts = (Fact(ATTACK, ATTACK, "b"),)
    report = replace(reported(before, after[1:]), before=ATTACK, after=ATTACK, facts=facts, name=ATTACK, lineage=ATTACK)
    parsed = elements(page(report))
    assert not {"img", "iframe", "object", "link"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1  # ours, and no other would run: the page names its hash
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'" in page(report)
    assert f"<script>{SCRIPT}</script>" in page(report)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page(report)


def test_the_page_fetches_nothing(sampled: Sampled, reported: Reported) -> None:
    html = page(reported(sampled("+-"), sampled("++")))
    assert not [name for name, _ in elements(html).attributes if name in {"src", "href", "action", "srcset"}]
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_the_page_says_verdict_numbers_and_flips(sampled: Sampled, reported: Reported) -> None:
    html = page(reported(sampled("+" * 12), sampled("-" * 9 + "+" * 3)))
    assert "regressed" in html
    assert "75.0 points" in html
    assert html.count('<article class="flip bad" tabindex="0">') == 9
    assert '<article class="flip good"' not in html


def test_rows_left_out_are_listed(sampled: Sampled, reported: Reported) -> None:
    html = page(reported(sampled("+++-"), sampled("+e+-+")[1:]))
    assert "503: the model is loading" in html
    assert "Only in plain" in html
    assert "Only in shown" in html


def test_grades_are_shown_as_numbers(sampled: Sampled, reported: Reported) -> None:
    values = [0.25, 0.5, 0.75, 1.0] * 3
    before, after = (
        tuple(replace(s, scores={"judge": Score(value=v)}) for s, v in zip(sampled("+" * 12), side, strict=True))
        for side in (values, values[::-1])
    )
    html = page(reported(before, after))
    assert "Got worse" in html
    assert "0.625" in html


def test_ten_thousand_flips_make_a_page_that_opens_quickly(sampled: Sampled, reported: Reported) -> None:
    html = page(reported(sampled("+" * 10_000), sampled("-" * 10_000)))
    assert len(html) < 1_000_000
    assert "9,800 more in report.json" in html


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("a b", ""), ("one two three", "one 2 three"), ("ü\n\nx", "x ü")]
)
def test_a_word_diff_loses_no_letter(before: str, after: str) -> None:
    left, right = word_diff(before, after)
    assert ("".join(p.text for p in left), "".join(p.text for p in right)) == (before, after)


def test_a_word_diff_marks_the_words_that_differ() -> None:
    left, right = word_diff("The capital is Paris.", "The capital is Rome.")
    assert [p.text for p in left if p.changed] == ["Paris"]
    assert [p.text for p in right if p.changed] == ["Rome"]
