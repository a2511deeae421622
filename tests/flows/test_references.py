"""References are whole texts; anything else is a literal."""

from __future__ import annotations

import pytest

from flows.references import Reference, follow, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${inputs.x}", Reference("inputs", ("x",))),
        ("${flow.x}", Reference("inputs", ("x",))),
        ("${node}", Reference("node", ())),
        ("${node.output}", Reference("node", ())),
        ("${node.output.a.b[0]}", Reference("node", ("a", "b", 0))),
        ("${node.output['a']}", Reference("node", ("a",))),
        ("${my-node.output}", Reference("my-node", ())),
        ("${two words.output['a-b']}", Reference("two words", ("a-b",))),
        ("${inputs.my-input}", Reference("inputs", ("my-input",))),
        ("${inputs.my-input.a[1]}", Reference("inputs", ("my-input", "a", 1))),
        ("say ${node.output}", None),
        ("plain", None),
        (3, None),
    ],
)
def test_a_reference_is_read(text: object, expected: Reference | None) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", [
        "${node.result}", "${inputs}", "${inputs.}", "${node.output.a-b}", "${.output}", "${a}${b}", "${a[0]}",
    ])  # fmt: skip
def test_a_broken_reference_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$\{"):
        parse(text)


def test_a_path_goes_through_mappings_lists_and_attributes() -> None:
    assert follow({"a": [{"b": 7}]}, ("a", 0, "b")) == 7
    assert follow(3 + 4j, ("imag",)) == 4.0
