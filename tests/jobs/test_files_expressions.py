"""Expressions: filled in, kept, left out, and what they are bound to."""

from __future__ import annotations

import pytest

from jobs.files.expressions import Binding, binding, bindings, fill, is_expression, optional_names, resolve, used


def test_expressions_are_filled_from_the_values() -> None:
    assert resolve("cat ${{ inputs.x }} > ${{outputs.y}}", {"inputs.x": "a", "outputs.y": "b"}) == "cat a > b"


def test_truths_and_numbers_are_written_as_azure_s_tools_do() -> None:
    assert resolve("${{inputs.a}} ${{inputs.b}}", {"inputs.a": True, "inputs.b": 0.01}) == "True 0.01"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "run "),
        ({"inputs.a": 1}, "run "),
        ({"inputs.a": 1, "inputs.b": 2}, "run  --a 1 --b 2 "),
        ({"inputs.a": 1, "inputs.b": None}, "run "),
    ],
)
def test_an_optional_block_stays_where_all_its_names_have_values(values: dict[str, object], expected: str) -> None:
    assert resolve("run $[[ --a ${{inputs.a}} --b ${{inputs.b}} ]]", values) == expected


def test_an_optional_block_may_have_several_lines() -> None:
    assert resolve("a $[[\n --b ${{inputs.b}}\n]]c", {}) == "a c"


def test_a_block_without_an_expression_stays_as_it_is() -> None:
    assert resolve("echo $[[inputs.x]] ${{inputs.x}}", {"inputs.x": 1}) == "echo $[[inputs.x]] 1"


def test_names_in_optional_blocks_only() -> None:
    assert optional_names("${{inputs.a}} $[[ ${{inputs.a}} ${{inputs.b}} ]] $[[inputs.c]]") == {"inputs.b"}


def test_a_whole_text_expression_keeps_the_type_of_its_value() -> None:
    values = {"parent.inputs.n": 3, "parent.inputs.ok": True}
    written = {"a": "${{parent.inputs.n}}", "b": ["n is ${{parent.inputs.n}}", "${{ parent.inputs.ok }}"], "c": 1}
    assert fill(written, values.__getitem__) == {"a": 3, "b": ["n is 3", True], "c": 1}


def test_what_has_no_value_stands() -> None:
    assert fill(["${{name}}", "x ${{name}}"], dict[str, str]().__getitem__) == ["${{name}}", "x ${{name}}"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parent.inputs.rate", Binding("inputs", "rate")),
        ("parent.inputs.group.rate", Binding("inputs", "group.rate")),
        ("parent.outputs.model", Binding("outputs", "model")),
        ("parent.jobs.train.outputs.model", Binding("outputs", "model", "train")),
        ("parent.jobs.train.inputs.rate", Binding("inputs", "rate", "train")),
        ("parent.jobs.train", Binding("outputs", "", "train")),
        ("inputs.rate", None),
        ("parent.jobs", None),
        ("parent.nodes.a.outputs.b", None),
    ],
)
def test_what_a_name_inside_a_pipeline_points_to(name: str, expected: Binding | None) -> None:
    assert binding(name) == expected
    if expected is not None:
        assert bindings(str(expected)) == [expected]


def test_what_is_one_expression_and_nothing_else() -> None:
    assert is_expression(" ${{ a }} ")
    assert not is_expression("${{a}}-${{b}}")
    assert used("${{a}}-${{ b.c }}") == ["a", "b.c"]
