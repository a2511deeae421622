"""What nodes are given, statement by statement: literals as prompt flow converts them, images, streams."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from workspace.errors import Invalid

Make = Callable[..., Path]
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HEAD = """\
inputs:
  x: {type: string, default: a}
outputs:
  y: {type: object, reference: "${last.output}"}
nodes:
"""


def node(name: str, inputs: str, more: str = "") -> str:
    source = f"source: {{type: code, path: {name}.py}}"
    return f"- {{name: {name}, type: python, {source}, inputs: {{{inputs}}}{more}}}\n"


def made(folder: Path, **inputs: Any) -> Any:
    result = flows.test(flows.load(folder), inputs, connections={})
    assert result.status == "Completed", result.error
    assert result.outputs is not None
    return result.outputs["y"]


# Literals


@pytest.mark.parametrize(
    ("default", "written", "expected"),
    [("'a'", "123", "'123'"), ("5", "7", "7"), ("0.5", "1", "1.0"), ("False", "true", "True"), ("None", "5", "5")],
)
def test_a_parameter_without_an_annotation_takes_the_type_of_its_default(
    make_flow: Make, default: str, written: str, expected: str
) -> None:
    folder = make_flow(HEAD + node("last", f'p: "{written}"'), last=f"def last(p={default}): return repr(p)")
    assert made(folder) == expected


def test_a_literal_that_only_keyword_arguments_take_stays_a_text(make_flow: Make) -> None:
    folder = make_flow(HEAD + node("last", 'a: "9", b: "[1]", c: 3'), last="def last(**more): return more")
    assert made(folder) == {"a": "9", "b": "[1]", "c": 3}


def test_secrets_paths_and_prompts_stay_texts(make_flow: Make) -> None:
    code = (
        "from promptflow.contracts.types import FilePath, PromptTemplate, Secret\nfrom promptflow.core import tool\n"
        "@tool\ndef last(s: Secret, f: FilePath, p: PromptTemplate): return [s, f, p]\n"
    )
    folder = make_flow(HEAD + node("last", """s: "12", f: "13", p: '{"a": 1}'"""))
    (folder / "last.py").write_text(code)
    assert made(folder) == ["12", "13", '{"a": 1}']


def test_one_of_an_enum_is_its_text(make_flow: Make) -> None:
    code = (
        "import enum\nfrom promptflow.core import tool\nclass Colour(enum.Enum):\n    RED = 'red'\n"
        "@tool\ndef last(c: Colour): return [c == 'red', f'{c}']\n"
    )
    folder = make_flow(HEAD + node("last", "c: red"))
    (folder / "last.py").write_text(code)
    assert made(folder) == [True, "red"]


def test_a_literal_that_is_no_value_of_its_type_is_refused_before_a_line_runs(make_flow: Make) -> None:
    folder = make_flow(HEAD + node("last", "i: many"), last="def last(i: int): return i")
    with pytest.raises(Invalid, match="'many' is no int"):
        flows.test(flows.load(folder), {}, connections={})


# Images


def test_the_paths_of_images_that_the_flow_names_begin_in_its_folder(make_flow: Make) -> None:
    inputs = 'picture: p.png, given: "${inputs.picture}", parts: ["a", {"data:image/png;path": p.png}]'
    code = (
        "from promptflow.contracts.multimedia import Image\nfrom promptflow.core import tool\n"
        "@tool\ndef last(picture: Image, given: Image, parts: list):\n"
        "    return [picture == given == parts[1], isinstance(parts[1], Image), parts[0]]\n"
    )
    declared = HEAD.replace("outputs:", "  picture: {type: image, default: p.png}\noutputs:")
    folder = make_flow(declared + node("last", inputs))
    (folder / "p.png").write_bytes(PIXEL)
    (folder / "last.py").write_text(code)
    assert made(folder) == [True, True, "a"]


@pytest.mark.parametrize("path", ["../outside.png", "absent.png", "/etc/hosts"])
def test_a_literal_leads_to_images_of_the_flow_only(make_flow: Make, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.png").write_bytes(PIXEL)
    text = f'- {{name: last, type: prompt, source: {{type: code, path: p.jinja2}}, inputs: {{picture: "{path}"}}}}\n'
    folder = make_flow(HEAD + text)
    (folder / "p.jinja2").write_text("![image]({{picture}})")
    with pytest.raises(Invalid, match="image"):
        flows.test(flows.load(folder), {}, connections={})


def test_a_template_shows_the_image_that_a_literal_names(make_flow: Make, modelling: Any) -> None:
    from flows.connections import Connection

    text = (
        "- {name: last, type: llm, connection: mine, source: {type: code, path: p.jinja2},"
        " inputs: {picture: p.png, word: p.png, model: m}}\n"
    )
    folder = make_flow(HEAD + text)
    (folder / "p.png").write_bytes(PIXEL)
    (folder / "p.jinja2").write_text("user:\nLook at {{word}}: ![image]({{ picture }}) well\n")
    mine = Connection(name="mine", type="open_ai", configs={"base_url": modelling.url}, secrets={"api_key": "k"})
    assert flows.test(flows.load(folder), {}, connections={"mine": mine}).outputs == {"y": "Hello"}
    first, second, third = modelling.asked[0]["body"]["messages"][0]["content"]
    assert (first, third) == ({"type": "text", "text": "Look at p.png:"}, {"type": "text", "text": "well"})
    assert second["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"


# References


def test_paths_lead_through_attributes_items_and_names_with_dots(make_flow: Make) -> None:
    first = "def first(x):\n    import types\n    return types.SimpleNamespace(a={'b': [1, {'c.d': 'deep'}]})"
    nodes = node("first", 'x: "${inputs.x}"')
    for number, path in enumerate(("a['b'][1]['c.d']", 'a.b[1]["c.d"]')):
        inputs = f"v: '${{first.output.{path}}}'" if number else f'v: "${{first.output.{path}}}"'
        folder = make_flow(HEAD + nodes + node("last", inputs), first=first, last="def last(v): return v")
        assert made(folder) == "deep"


def test_only_the_output_of_a_node_can_be_used(make_flow: Make) -> None:
    with pytest.raises(Invalid, match=r"only `\.output`"):
        flows.load(make_flow(HEAD + node("last", 'x: "${first.result}"'), last="def last(x): return x"))


def test_a_path_that_leads_nowhere_fails_the_line_and_not_the_run(make_flow: Make) -> None:
    nodes = node("first", 'x: "${inputs.x}"') + node("last", 'v: "${first.output.absent}"')
    folder = make_flow(HEAD + nodes, first="def first(x): return {'a': 1}", last="def last(v): return v")
    result = flows.test(flows.load(folder), {}, connections={})
    assert (result.status, "absent" in (result.error or "")) == ("Failed", True)


# Generators


def test_a_node_gets_a_generator_where_another_is_one(make_flow: Make) -> None:
    nodes = node("first", 'x: "${inputs.x}"') + node("last", 'v: "${first.output}"')
    first = "def first(x):\n    yield 'one'\n    yield 'two'\n    yield 'three'"
    last = "def last(v):\n    head = next(v)\n    return [head, list(v), list(v)]"
    result = flows.test(flows.load(make_flow(HEAD + nodes, first=first, last=last)), {}, connections={})
    assert result.outputs == {"y": ["one", ["two", "three"], []]}
    assert result.nodes[1].inputs == {"v": "onetwothree"}


def test_an_async_generator_is_read_by_async_code_and_plain_code(make_flow: Make) -> None:
    nodes = node("first", 'x: "${inputs.x}"') + node("slow", 'v: "${first.output}"')
    nodes += node("last", 'v: "${first.output}", w: "${slow.output}"')
    tools = {
        "first": "async def first(x):\n    for word in ('one', 'two'):\n        yield word",
        "slow": "async def slow(v): return [word async for word in v]",
        "last": "def last(v, w): return [list(v), w]",
    }
    assert made(make_flow(HEAD + nodes, **tools)) == [["one", "two"], ["one", "two"]]
