"""Several runs ranked: whoever is ranked says honestly how sure that is."""

from __future__ import annotations

import json
from dataclasses import replace

from evals import several
from evals.compare import Terms
from evals.several import compare_several
from tests.evals.conftest import Sampled, Samples


def widths(runs: dict[str, Samples]) -> dict[str, float]:
    strengths = compare_several(runs, Terms()).strengths
    return {name: each.high - each.low for name, each in strengths.items()}


def test_runs_are_ranked_with_the_strongest_first_and_told_in_three_ways(sampled: Sampled) -> None:
    runs = {"small": sampled("+-" * 20), "large": sampled("+++-" * 10), "middle": sampled("++-+----" * 5)}
    found = compare_several(runs, Terms())
    assert [*found.strengths] == ["large", "small", "middle"]
    assert found.strengths["large"].low > found.strengths["middle"].estimate
    assert "3 runs by 'exact' over 40 rows" in several.text(found)
    assert several.markdown(found).count("\n") == 4
    told = json.loads(json.dumps(several.as_dict(found)))
    assert told["comparisons"]["large"]["verdict"] in ("improved", "underpowered", "no detectable change")


def test_rows_that_all_say_the_same_leave_room_for_others_and_the_more_of_them_the_less(sampled: Sampled) -> None:
    for before, after in (("+", "+"), ("-", "+"), ("-", "-")):
        few = widths({"a": sampled(before * 10), "b": sampled(after * 10)})
        many = widths({"a": sampled(before * 1_000), "b": sampled(after * 1_000)})
        assert few["a"] > 0.5
        assert 0 < many["a"] <= few["a"]
    strengths = compare_several({"a": sampled("-" * 30), "b": sampled("+" * 30)}, Terms()).strengths
    assert strengths["b"].low > 0 > strengths["a"].high


def test_clusters_are_drawn_as_a_whole_and_say_no_more_than_they_are(sampled: Sampled) -> None:
    def clustered(marks: str) -> Samples:
        return tuple(replace(each, cluster=f"document {each.number // 10}") for each in sampled(marks))

    marks = ("+" * 10 + "-" * 10) * 5, ("-" * 10 + "+" * 10) * 3 + "+" * 40
    plain = widths({"a": sampled(marks[0]), "b": sampled(marks[1])})
    whole = widths({"a": clustered(marks[0]), "b": clustered(marks[1])})
    assert whole["b"] > 1.5 * plain["b"]
    alike = widths({"a": clustered("+" * 100), "b": clustered("+" * 100)})
    assert alike["a"] > 2 * widths({"a": sampled("+" * 100), "b": sampled("+" * 100)})["a"]
