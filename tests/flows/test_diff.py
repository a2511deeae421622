"""Two flows are compared by what they mean."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows import diff
from workspace.errors import NotFound

ROOT = Path(__file__).parents[2]
FLOW = """\
# a comment
inputs:
  question: {type: string}
outputs:
  answer: {type: string, reference: "${ask.output}"}
nodes:
- name: tidy
  type: python
  source: {type: code, path: tidy.py}
  inputs: {text: "${inputs.question}"}
- name: ask
  type: llm
  source: {type: code, path: ask.jinja2}
  inputs: {question: "${tidy.output}", temperature: 0}
  connection: first
"""
SAME = """\
nodes:
- {name: ask, type: llm, api: chat, source: {path: ask.jinja2}, connection: first, comment: said twice,
   inputs: {question: "${tidy}", temperature: 0, stop: ""}}
- {name: tidy, type: python, aggregation: false, source: {path: tidy.py}, inputs: {text: "${flow.question}"}}
outputs: {answer: {reference: "${ask}", type: string, is_chat_output: false}}
inputs: {question: {type: string}}
"""


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return folder(tmp_path / "before", FLOW)


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "flow.dag.yaml").write_text(text)
    (path / "tidy.py").write_text("import words\n\n\ndef tidy(text):\n    return text\n")
    (path / "words.py").write_text("WORDS = 1\n")
    (path / "ask.jinja2").write_text("system:\nAnswer.\nuser:\n{{question}}\n")
    return path


def changed(before: Path, tmp_path: Path, old: str, new: str) -> list[str]:
    after = folder(tmp_path / "after", FLOW.replace(old, new))
    return [*diff.told(diff.compare(before, after))]


def test_a_flow_is_the_same_as_itself(before: Path) -> None:
    assert diff.compare(before, before) == []


def test_order_comments_defaults_and_spellings_make_no_difference(before: Path, tmp_path: Path) -> None:
    assert diff.compare(before, folder(tmp_path / "after", SAME)) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("temperature: 0", "temperature: 0.5", ["~ node ask", "    inputs.temperature: 0 → 0.5"]),
        ("temperature: 0", "temperature: false", ["~ node ask", "    inputs.temperature: 0 → false"]),
        (", temperature: 0", "", ["~ node ask", "    inputs.temperature: - 0"]),
        ("connection: first", "connection: second", ["~ node ask", "    connection: first → second"]),
        ("connection: first", "connection: first\n  retry: 2", ["~ node ask", "    retry: + 2"]),
        ("question: {type: string}", "question: {type: int}", ["~ input question", "    type: string → int"]),
        ("answer: {type: string", "answer: {type: int", ["~ output answer", "    type: string → int"]),
        ('reference: "${ask.output}"', 'reference: "${tidy.output}"',
         ["~ output answer", "    reference: ${ask.output} → ${tidy.output}"]),
        ("# a comment", "environment_variables: {LEVEL: high}",
         ["~ flow", "    environment_variables.LEVEL: + high"]),
    ],
)  # fmt: skip
def test_a_changed_value_is_named(before: Path, tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    assert changed(before, tmp_path, old, new) == expected


def test_prompts_and_code_are_told_line_by_line(before: Path, tmp_path: Path) -> None:
    after = folder(tmp_path / "after", FLOW)
    (after / "ask.jinja2").write_text("system:\nAnswer in one word.\nuser:\n{{question}}\n")
    (after / "words.py").write_text("WORDS = 2\n")
    prompt, code = diff.compare(before, after)
    assert (prompt.where, prompt.field) == ("node ask", "prompt ask.jinja2")
    assert "-Answer.\n+Answer in one word.\n" in prompt.text
    assert code.where == "file words.py"
    assert "-WORDS = 1\n+WORDS = 2\n" in code.text


def test_nodes_and_files_come_and_go(before: Path, tmp_path: Path) -> None:
    after = folder(tmp_path / "after", FLOW.replace("name: tidy", "name: clean").replace("tidy.output", "clean.output"))
    (after / "words.py").unlink()
    told = [*diff.told(diff.compare(before, after))]
    assert "- node tidy (python, tidy.py)" in told
    assert "+ node clean (python, tidy.py)" in told
    assert "- file words.py" in told


def test_a_renamed_prompt_is_still_compared(before: Path, tmp_path: Path) -> None:
    after = folder(tmp_path / "after", FLOW.replace("ask.jinja2", "better.jinja2"))
    (after / "ask.jinja2").rename(after / "better.jinja2")
    assert [*diff.told(diff.compare(before, after))] == ["~ node ask", "    source.path: ask.jinja2 → better.jinja2"]


def test_variants_are_compared_one_by_one(tmp_path: Path) -> None:
    demo = ROOT / "studiolo" / "demo_flow"
    after = tmp_path / "after"
    shutil.copytree(demo, after)
    text = (after / "flow.dag.yaml").read_text()
    (after / "flow.dag.yaml").write_text(text.replace("default_variant_id: plain", "default_variant_id: shown"))
    with (after / "shown.jinja2").open("a") as file:
        file.write("Be brief.\n")
    first, second = diff.compare(demo, after)
    assert (first.where, first.before, first.after) == ("node ask", "plain", "shown")
    assert (second.where, second.field) == ("node ask, variant shown", "prompt shown.jinja2")


def test_a_flow_in_a_flow_is_compared_too(tmp_path: Path) -> None:
    for name in ("before", "after"):
        folder(
            tmp_path / f"inner-{name}", FLOW if name == "before" else FLOW.replace("temperature: 0", "temperature: 1")
        )
        outer = tmp_path / name
        outer.mkdir()
        (outer / "flow.dag.yaml").write_text(
            f"nodes:\n- {{name: whole, type: flow, source: {{path: ../inner-{name}}}, inputs: {{question: hi}}}}\n"
        )
    told = [*diff.told(diff.compare(tmp_path / "before", tmp_path / "after"))]
    assert told[-2:] == ["~ node whole / node ask", "    inputs.temperature: 0 → 1"]


def test_prompties_are_compared_by_front_matter_and_prompt(tmp_path: Path) -> None:
    for name, heat, body in (("a", 0, "Hi"), ("b", 1, "Hello")):
        (tmp_path / f"{name}.prompty").write_text(
            f"---\nmodel:\n  parameters: {{temperature: {heat}}}\ninputs:\n  x: {{type: string}}\n---\nuser:\n{body}\n"
        )
    value, prompt = diff.compare(tmp_path / "a.prompty", tmp_path / "b.prompty")
    assert (value.field, value.before, value.after) == ("model.parameters.temperature", 0, 1)
    assert "-Hi\n+Hello\n" in prompt.text


def test_flex_flows_are_compared_by_their_code(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(ROOT / "examples" / "flows" / "flex-class", before)
    shutil.copytree(before, after)
    (after / "grader.py").write_text((before / "grader.py").read_text().replace("0.5", "0.6"))
    (change,) = diff.compare(before, after)
    assert (change.kind, change.where) == ("changed", "file grader.py")


def test_another_format_is_a_difference(tmp_path: Path, before: Path) -> None:
    told = [*diff.told(diff.compare(before, ROOT / "examples" / "flows" / "flex-function"))]
    assert told[:2] == ["~ flow", "    format: dag → flex"]


def test_changes_are_plain_data(before: Path, tmp_path: Path) -> None:
    after = folder(tmp_path / "after", FLOW.replace("temperature: 0", "temperature: 1"))
    (change,) = diff.compare(before, after)
    assert json.loads(json.dumps({"before": change.before, "after": change.after})) == {"before": 0, "after": 1}


def test_files_outside_the_flow_are_not_shown(tmp_path: Path, before: Path) -> None:
    (tmp_path / "secret.jinja2").write_text("the secret")
    after = folder(tmp_path / "after", FLOW.replace("ask.jinja2", "../secret.jinja2"))
    assert "the secret" not in "\n".join(diff.told(diff.compare(before, after)))


def test_a_folder_without_a_flow_is_named(tmp_path: Path, before: Path) -> None:
    with pytest.raises(NotFound, match="no flow in"):
        diff.compare(before, tmp_path)
