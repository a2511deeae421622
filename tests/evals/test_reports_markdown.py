from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from markdown_it import MarkdownIt

from evals.reports.markdown import LARGEST, MARKER, markdown
from evals.reports.report import Report
from evals.samples import Sample

Sampled = Callable[[str], tuple[Sample, ...]]
Reported = Callable[[Sequence[Sample], Sequence[Sample]], Report]

ATTACK = (
    "a | b `c` **d** <script>x</script> [l](http://evil.example) ![i](http://evil.example/i.png) "
    "@someone www.evil.example #12"
)


def test_a_summary_has_verdict_numbers_and_flips(sampled: Sampled, reported: Reported) -> None:
    text = markdown(reported(sampled("+" * 9 + "-"), sampled("-" * 9 + "+")))
    assert text.startswith(MARKER)
    assert "regressed" in text
    assert "### Broke (9)" in text
    assert "### Fixed (1)" in text


def test_nothing_from_outside_becomes_mark_up(sampled: Sampled, reported: Reported) -> None:
    before = sampled("+-")
    after = tuple(replace(sample, answer=f"x\n\n# y {ATTACK}", name=ATTACK) for sample in sampled("-+"))
    text = markdown(replace(reported(before, after), after=ATTACK))
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert "@someone" not in html
    assert "www.evil" not in text
    assert html.count("<h1") == 0


def test_a_summary_stays_within_what_a_comment_may_hold(sampled: Sampled, reported: Reported) -> None:
    before = sampled("+" * 3_000)
    after = tuple(replace(sample, answer="ä|" * 5_000, inputs={"q": "*" * 9_000}) for sample in sampled("-" * 3_000))
    assert len(markdown(reported(before, after))) <= LARGEST + 100


def test_the_sentence_reads_the_same_without_being_rendered(sampled: Sampled, reported: Reported) -> None:
    report = reported(sampled("+" * 9 + "-"), sampled("-" * 9 + "+"))
    assert "fell from 90.0 % to 10.0 %: " in markdown(report)
    assert "p < 0.0001" in markdown(reported(sampled("-" * 20), sampled("+" * 20)))
    assert "http&#58;//" in markdown(replace(report, after="http://evil.example"))
