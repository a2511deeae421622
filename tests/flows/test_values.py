"""Conversion of flow values, as prompt flow does it."""

from __future__ import annotations

from typing import Any

import pytest

from flows.values import convert


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3", "int", 3),
        (3.7, "int", 3),
        (True, "int", 1),
        ("2.5", "double", 2.5),
        ("TRUE", "bool", True),
        (False, "bool", False),
        (7, "string", "7"),
        ('[1, "a"]', "list", [1, "a"]),
        ('{"a": 1}', "object", {"a": 1}),
        ("no json", "object", "no json"),
        ([1], "object", [1]),
    ],
)
def test_a_value_takes_its_type(value: Any, kind: str, expected: Any) -> None:
    converted = convert(value, kind)
    assert (converted, type(converted)) == (expected, type(expected))


@pytest.mark.parametrize(("value", "kind"), [("3.7", "int"), (None, "int"), (1, "bool"), ("x", "list"), ("{}", "list")])
def test_a_value_of_another_type_is_refused(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match=f"is no {kind}"):
        convert(value, kind)
