"""Reading flow.dag.yaml: what is understood, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

import flows
from flows.references import Reference
from workspace.errors import Invalid, NotFound

TWO_NODES = """\
inputs:
  x:
    type: int
    default: "3"
outputs:
  y:
    type: int
    reference: ${second.output}
nodes:
- name: second
  type: python
  source: {type: code, path: tool.py}
  inputs:
    x: ${first.output}
- name: first
  type: python
  source: {type: code, path: tool.py}
  inputs:
    x: ${inputs.x}
"""
VARIANTS = """\
inputs:
  q: {type: string}
outputs:
  a: {type: string, reference: "${ask.output}"}
nodes:
- name: ask
  use_variants: true
node_variants:
  ask:
    default_variant_id: short
    variants:
      short:
        node: {type: prompt, source: {type: code, path: short.jinja2}, inputs: {q: "${inputs.q}"}}
      long:
        node: {type: prompt, source: {type: code, path: long.jinja2}, inputs: {q: "${inputs.q}"}}
"""


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "flow.dag.yaml").write_text(text)
    for name in ("tool.py", "short.jinja2", "long.jinja2"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_nodes_come_in_an_order_in_which_they_can_run(tmp_path: Path) -> None:
    flow = flows.load(folder(tmp_path, TWO_NODES))
    assert [node.name for node in flow.nodes] == ["first", "second"]
    assert flow.inputs["x"].default == 3
    assert flow.outputs["y"].value == Reference("second", ())


def test_the_default_variant_is_used_unless_one_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, VARIANTS)
    assert flows.load(path).nodes[0].path == tmp_path / "short.jinja2"
    assert flows.load(path, variant="${ask.long}").nodes[0].path == tmp_path / "long.jinja2"


@pytest.mark.parametrize("variant", ["ask.lon", "aks.long", "long"])
def test_a_variant_that_does_not_exist_is_refused(tmp_path: Path, variant: str) -> None:
    with pytest.raises(Invalid) as caught:
        flows.load(folder(tmp_path, VARIANTS), variant=variant)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("inputs:\n  x", "inptus:\n  x", ":1:1", "did you mean 'inputs'?"),
        ("    default: ", "    defualt: ", ":4:5", "did you mean 'default'?"),
        ("type: int\n    default", "type: integer\n    default", ":3:5", "did you mean 'int'?"),
        ('"3"', '"three"', ":4:5", "no int"),
        ("    reference: ${second.output}\n", "", ":6:3", "reference"),
        ("- name: second\n", "- name: first\n", ":15:3", "two nodes"),
        ("- name: first\n  type: python", "- name: first\n  type: pyhton", ":16:3", "python"),
        ("path: tool.py}\n  inputs:\n    x: ${first", "path: ../tool.py}\n  inputs:\n    x: ${first", ":12:", "out of"),
        ("path: tool.py}\n  inputs:\n    x: ${first", "path: gone.py}\n  inputs:\n    x: ${first", ":12:", "no file"),
        ("${first.output}", "${first.result}", ":14:5", "`.output`"),
        ("${inputs.x}", "${inputs.z}", ":15:3", "not declared"),
        ("${first.output}", "${third.output}", ":10:3", "does not exist"),
        ("${inputs.x}", "${second.output}", ":1", "circle"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, place: str, words: str
) -> None:
    assert old in TWO_NODES
    with pytest.raises(Invalid) as caught:
        flows.load(folder(tmp_path, TWO_NODES.replace(old, new, 1)))
    assert f"flow.dag.yaml{place}" in str(caught.value)
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_a_line_may_not_wait_for_what_runs_after_all_lines(tmp_path: Path) -> None:
    text = TWO_NODES.replace("- name: first\n", "- name: first\n  aggregation: true\n")
    with pytest.raises(Invalid, match="aggregation"):
        flows.load(folder(tmp_path, text))


def test_a_folder_without_a_flow_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no flow"):
        flows.load(tmp_path)


def test_yaml_1_2_words_stay_words(tmp_path: Path) -> None:
    text = TWO_NODES.replace('type: int\n    default: "3"', "type: string\n    default: yes")
    assert flows.load(folder(tmp_path, text)).inputs["x"].default == "yes"


def test_the_digest_changes_with_a_prompt_and_with_the_variant(tmp_path: Path) -> None:
    path = folder(tmp_path, VARIANTS)
    before = flows.load(path).digest
    assert flows.load(path, variant="ask.long").digest != before
    (path / "short.jinja2").write_text("new")
    assert flows.load(path).digest != before
