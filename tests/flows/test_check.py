"""A flow's problems are told all at once, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows import check, graph

ROOT = Path(__file__).parents[2]
MakeFlow = Callable[..., Path]
NODE = """\
inputs:
  x: {type: int}
outputs:
  y: {type: int, reference: "${double.output}"}
nodes:
- name: double
  type: python
  source: {type: code, path: double.py}
  inputs: {x: "${inputs.x}"}
"""
DOUBLE = "def double(x: int) -> int:\n    return 2 * x"


def said(folder: Path) -> list[str]:
    return [f"{each.at.line if each.at else 0} {each.severity}: {each.message}" for each in check.problems(folder)]


@pytest.mark.parametrize(
    "folder",
    [
        path
        for path in [*sorted((ROOT / "examples" / "flows").iterdir()), ROOT / "studiolo" / "demo_flow"]
        if path.is_dir() and path.name != "shared"
    ],
    ids=lambda path: path.name,
)
def test_the_flows_we_ship_have_no_problem(folder: Path) -> None:
    assert [str(each) for each in check.problems(folder)] == []


def test_several_problems_are_told_at_once_in_the_order_of_their_lines(make_flow: MakeFlow) -> None:
    text = (
        "inptus: {}\n"
        "inputs:\n"
        "  x: {type: itn}\n"
        "outputs:\n"
        "  y: {type: int, reference: '${doubel.output}'}\n"
        "nodes:\n"
        "- name: double\n"
        "  type: python\n"
        "  source: {type: code, path: missing.py}\n"
        "  inputs: {x: '${inputs.x}'}\n"
        "- name: again\n"
        "  type: python\n"
        "  soucre: {type: code, path: double.py}\n"
        "- name: double\n"
        "  type: python\n"
        "  source: {type: code, path: double.py}\n"
    )
    assert said(make_flow(text, double=DOUBLE)) == [
        "1 error: unknown key 'inptus'",
        "3 error: unknown type 'itn'",
        "5 error: output 'y' uses the node 'doubel', which does not exist",
        "9 error: no file 'missing.py'",
        "11 error: a node needs `source` with `type: code` and `path`",
        "13 error: unknown key 'soucre'",
        "14 error: two nodes are named 'double'",
    ]


def test_what_cannot_be_read_is_not_told_again_by_those_who_use_it(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace("type: python", "type: pyhton"), double=DOUBLE)
    assert said(folder) == ["7 error: unknown type 'pyhton'"]


def test_what_a_node_refers_to_is_looked_at_also_where_the_rest_of_it_cannot_be_read(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace("type: python", "type: pyton").replace("inputs.x}", "inputs.z}"), double=DOUBLE)
    found = said(folder)
    assert any("unknown type 'pyton'" in each for each in found)
    assert any("'z'" in each for each in found)


def test_every_cycle_and_lost_name_is_found(make_flow: MakeFlow) -> None:
    text = NODE.replace("${inputs.x}", "${double.output}")
    assert [each.partition(": ")[2] for each in said(make_flow(text, double=DOUBLE))] == [
        "nothing uses the input 'x'",
        "nodes go round in a circle: double → double",
    ]


def test_the_problem_names_file_line_and_column(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace("int}", "itn}", 1), double=DOUBLE)
    (problem,) = check.problems(folder)
    assert str(problem) == f"{folder / 'flow.dag.yaml'}:2:7: error: unknown type 'itn'"
    assert problem.hint == "did you mean 'int'?"


def test_code_that_is_no_python_is_told_with_its_own_line(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE, double="def double(x: int) -> int:\n    return 2 *")
    (problem,) = check.problems(folder)
    assert problem.at is not None
    assert (problem.at.path.name, problem.at.line) == ("double.py", 6)


def test_a_file_needs_exactly_one_tool_and_is_not_run_to_count(make_flow: MakeFlow) -> None:
    code = DOUBLE + "\n\n\n@tool\ndef triple(x: int) -> int:\n    raise SystemExit\n\n\nraise SystemExit\n"
    folder = make_flow(NODE, double=code)
    assert said(folder) == ["1 error: double.py must hold exactly one function marked @tool, not 2"]


def test_inputs_are_held_against_what_the_function_takes(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE, double="def double(z: int, more: int = 1) -> int:\n    return z")
    assert said(folder) == [
        "6 error: node 'double' does not give 'z', which double needs",
        "6 warning: double does not take 'x': node 'double' gives it in vain",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "async def double(x: int) -> int:\n    return x",
        "def double(**given: int) -> int:\n    return 1",
        "class Doubler:\n    pass".replace("class", "def f(x): ...\n\n\nclass"),
    ],
)
def test_ways_to_write_a_tool_that_are_right(make_flow: MakeFlow, code: str) -> None:
    assert said(make_flow(NODE, double=code)) == []


def test_a_tool_in_a_class_takes_what_the_class_is_made_with(tmp_path: Path, make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace('x: "${inputs.x}"', 'x: "${inputs.x}", times: 3'), double=DOUBLE)
    (folder / "double.py").write_text(
        "from promptflow.core import ToolProvider, tool\n\n\nclass Doubler(ToolProvider):\n"
        "    def __init__(self, times: int):\n        self.times = times\n\n"
        "    @tool\n    def double(self, x: int) -> int:\n        return self.times * x\n"
    )
    assert said(folder) == []


def test_a_template_is_compiled_and_held_against_the_inputs(make_flow: MakeFlow) -> None:
    text = NODE.replace("type: python", "type: prompt").replace("double.py", "double.jinja2")
    folder = make_flow(text)
    (folder / "double.jinja2").write_text("Twice {{ y }}")
    assert said(folder) == [
        "6 warning: double.jinja2 does not show 'x': node 'double' gives it in vain",
        "6 warning: double.jinja2 shows 'y', which node 'double' does not give: it will be empty",
    ]
    (folder / "double.jinja2").write_text("One\n{% if %}")
    (problem,) = check.problems(folder)
    assert problem.at is not None
    assert (problem.at.path.name, problem.at.line) == ("double.jinja2", 2)


def test_a_chat_prompt_without_a_role_is_refused(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace("type: python", "type: llm").replace("double.py", "double.jinja2"))
    (folder / "double.jinja2").write_text("Just text")
    assert "1 error: double.jinja2 has no role: no message begins" in said(folder)


def test_every_variant_is_looked_at(make_flow: MakeFlow) -> None:
    text = (
        "inputs: {x: {type: int}}\n"
        "outputs: {y: {type: int, reference: '${ask.output}'}}\n"
        "nodes:\n- {name: ask, use_variants: true}\n"
        "node_variants:\n  ask:\n    default_variant_id: one\n    variants:\n"
        "      one: {node: {type: python, source: {type: code, path: double.py}, inputs: {x: '${inputs.x}'}}}\n"
        "      two: {node: {type: python, source: {type: code, path: gone.py}, inputs: {x: '${inputs.x}'}}}\n"
    )
    assert said(make_flow(text, double=DOUBLE)) == ["10 error: no file 'gone.py'"]


def test_a_flow_in_a_flow_is_looked_at_too(tmp_path: Path, make_flow: MakeFlow) -> None:
    inner = make_flow(NODE, double="def double(z: int) -> int:\n    return z")
    inner.rename(tmp_path / "inner")
    outer = make_flow(
        NODE.replace("type: python", "type: flow").replace("{type: code, path: double.py}", "{path: ../inner}")
    )
    found = check.problems(outer)
    assert [each.message for each in found if each.severity == "error"] == [
        "node 'double' does not give 'z', which double needs"
    ]
    assert found[0].at is not None
    assert found[0].at.path.parent.name == "inner"


def test_an_unknown_package_tool_is_refused(make_flow: MakeFlow) -> None:
    source = "{type: package, tool: nobody.has.this}"
    folder = make_flow(NODE.replace("{type: code, path: double.py}", source))
    assert said(folder) == ["6 error: no package tool 'nobody.has.this'"]


def test_an_output_of_an_aggregation_node_is_warned_of(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE.replace("type: python", "type: python\n  aggregation: true"), double=DOUBLE)
    assert said(folder) == ["4 warning: output 'y' uses the aggregation node 'double', and is left out of every line"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("flow.dag.yaml", "nodes: [", "not YAML"),
        ("flow.dag.yaml", "- a\n- b\n", "expected a mapping"),
        ("flow.dag.yaml", "", "expected a mapping"),
        ("flow.dag.yaml", "inputs: 3\nnodes: {}\n", "`inputs` must be a mapping"),
        ("flow.flex.yaml", "entry: nothing\n", "`entry` must be module:name"),
        ("a.prompty", "system:\nHi\n", "a prompty begins with a front matter"),
        ("a.prompty", "---\nname: a\n---\nsystem:\n{% if %}\n", "not a template"),
        ("b.txt", "x", "no flow in"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_and_no_exception(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_text(text)
    assert expected in str(check.problems(tmp_path)[0])


def test_what_loads_has_no_errors_and_what_does_not_has_some(make_flow: MakeFlow) -> None:
    folder = make_flow(NODE, double=DOUBLE)
    graph.load(folder)
    assert not [each for each in check.problems(folder) if each.severity == "error"]
