from __future__ import annotations

from pathlib import Path

import pytest

from evals.adapters import promptfoo
from workspace.errors import Invalid, NotFound

CAPITALS = """description: Capitals
prompts:
  - "What is the capital of {{country}}?"
  - id: polite
    raw: '[{"role":"system","content":"Be polite."},{"role":"user","content":"Capital of {{country}}, please."}]'
providers:
  - openai:chat:demo
  - id: openai:other
    config: {temperature: 0, apiBaseUrl: "http://127.0.0.1:9/v1"}
defaultTest:
  assert:
    - {type: latency, threshold: 5000}
tests:
  - description: France
    vars: {country: France}
    threshold: 0.5
    assert:
      - {type: not-contains, value: London, weight: 2}
  - vars: {country: [Italy, Spain]}
    assert:
      - {type: assert-set, weight: 2, assert: [{type: contains-any, value: [Rome, Madrid]}]}
  - file://more.csv
outputPath: out.html
"""


def written(folder: Path, text: str = CAPITALS) -> Path:
    (folder / "more.csv").write_text(
        'country,__expected,__expected2\nPortugal,icontains:lisbon,"contains-any:a, b"\nChad,is-json,\nPeru,Lima,\n'
    )
    path = folder / "promptfooconfig.yaml"
    path.write_text(text)
    return path


def test_each_prompt_for_each_provider_is_a_task_and_the_tests_are_its_rows(tmp_path: Path) -> None:
    found = promptfoo.read(written(tmp_path))
    assert [each.name for each in found.tasks] == [
        "Capitals-prompt-1-demo", "Capitals-prompt-1-other", "Capitals-polite-demo", "Capitals-polite-other"
    ]  # fmt: skip
    last = found.tasks[-1].task
    assert last["system"] == "Be polite."
    assert last["prompt"] == "Capital of {{country}}, please."
    assert last["target"] == {"model": "other", "endpoint": "http://127.0.0.1:9/v1"}
    assert last["generate"] == {"temperature": 0}
    assert last["mapping"] == {"country": "${data.country}"}
    assert [row["country"] for row in found.rows] == ["France", "Italy", "Spain", "Portugal", "Chad", "Peru"]


def test_the_assertions_of_all_tests_of_sets_and_of_csv_go_along(tmp_path: Path) -> None:
    france, italy, _, portugal, chad, peru = promptfoo.read(written(tmp_path)).rows
    latency = {"type": "latency", "threshold": 5000}
    assert france["assert"] == [latency, {"type": "not-contains", "value": "London", "weight": 2}]
    assert (france["id"], france["threshold"]) == ("France", 0.5)
    assert italy["assert"][1] == {"type": "contains-any", "value": ["Rome", "Madrid"], "weight": 2.0}
    assert portugal["assert"][1:] == [
        {"type": "icontains", "value": "lisbon"}, {"type": "contains-any", "value": ["a", "b"]}
    ]  # fmt: skip
    assert chad["assert"][1:] == [{"type": "is-json"}]
    assert peru["assert"][1:] == [{"type": "equals", "value": "Lima"}]


def test_what_is_left_out_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert promptfoo.read(path).left_out == (f"{path}:23:1: `outputPath` is not taken over",)


@pytest.mark.parametrize(
    ("old", "new", "says", "line"),
    [
        ("- openai:chat:demo", "- anthropic:messages:x", "provider 'anthropic:messages:x' is not taken over", 7),
        ("type: not-contains", "type: javascript", "the assertion 'javascript' is not taken over", 14),
        ("country: France", "assert: France", "a variable cannot be called 'assert'", 14),
    ],
)
def test_what_cannot_be_taken_over_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, says: str, line: int
) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        promptfoo.read(written(tmp_path, CAPITALS.replace(old, new, 1)))
    assert caught.value.at is not None
    assert caught.value.at.line == line


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file 'file://less.csv'"):
        promptfoo.read(written(tmp_path, CAPITALS.replace("file://more.csv", "file://less.csv")))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no promptfoo configuration"):
        promptfoo.read(written(tmp_path, "data: rows.jsonl\n"))
