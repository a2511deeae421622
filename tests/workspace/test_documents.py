from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace.documents import Document, parse_yaml, read_yaml
from workspace.errors import Invalid, NotFound

FLOW = """\
inputs:
  question: {type: string}
nodes:
- name: answer
  type: llm
- name: tidy
"""


def refused(text: str) -> str:
    with pytest.raises(Invalid) as error:
        parse_yaml(text, path=Path("f.yaml"))
    return str(error.value)


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ((), "f.yaml:1:1"),
        (("nodes",), "f.yaml:3:1"),
        (("nodes", 0, "type"), "f.yaml:5:3"),
        (("nodes", 1), "f.yaml:6:3"),
        (("inputs", "question", "type"), "f.yaml:2:14"),
        (("nodes", 1, "missing", "deeper"), "f.yaml:6:3"),
    ],
)
def test_every_key_and_item_knows_its_place_and_what_is_missing_its_parents(steps: tuple[Any, ...], place: str) -> None:
    assert str(parse_yaml(FLOW, path=Path("f.yaml")).at(*steps)) == place


def test_a_value_is_reached_by_its_steps_or_is_none() -> None:
    document = parse_yaml(FLOW)
    assert document.get("nodes", 1, "name") == "tidy"
    assert document.get("nodes", 9, "name") is None
    assert document.get("inputs", "question", "type", "more") is None


def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one() -> None:
    document = parse_yaml(FLOW, path=Path("f.yaml"))
    with pytest.raises(Invalid) as error:
        document.refuse_unknown(["nmae", "names", "kind", "type"], "nodes", 0)
    assert str(error.value) == "f.yaml:4:3: unknown key 'name'"
    assert error.value.hint == "did you mean 'names'?"
    document.refuse_unknown(["name", "type"], "nodes", 0)
    with pytest.raises(Invalid, match="expected a mapping, not a list"):
        document.refuse_unknown(["name"], "nodes")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("~", None),
        ("", None), ("null", None),
        ("12", 12), ("0777", 777), ("0o14", 12), ("0x1F", 31), ("-5", -5), ("1.5", 1.5), ("1e3", 1000.0),
        (".inf", float("inf")),
        ("12:30:45", "12:30:45"), ("2024-05-01", "2024-05-01"), ("'5'", "5"), ("!!str 5", "5"),
        ("${inputs.x}", "${inputs.x}"),
    ],
)  # fmt: skip
def test_plain_words_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    value = parse_yaml(f"a: {written}\n").root["a"]
    assert (type(value), value) == (type(meant), meant)


def test_values_are_plain_python() -> None:
    root = parse_yaml("a: [1, {b: 'x'}]\nc: |\n  two\n  lines\n").root
    assert root == {"a": [1, {"b": "x"}], "c": "two\nlines\n"}
    assert {type(root), type(root["a"]), type(root["c"])} == {dict, list, str}


def test_anchors_and_merged_mappings_are_understood() -> None:
    assert parse_yaml("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n").root["more"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: !python/object x\n", "f.yaml:3:6: tag !python/object is not allowed"),
        ("a: !!python/object/apply:os.system [ls]\n", "f.yaml:1:4: tag !!python/object/apply:os.system is not allowed"),
        ("a: !!binary aGk=\n", "f.yaml:1:4: tag !!binary is not allowed"),
        ("a: 1\na: 2\n", "f.yaml:2:1: key 'a' is here twice"),
        ("a: !!int five\n", "f.yaml:1:4: 'five' is no int"),
        ("[1]: 2\n", "f.yaml:1:1: a key must be text or a number"),
        ("a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed here"),
        ("a:\n\t- b\n", "f.yaml:2:1: not YAML: found character '\\t' that cannot start any token"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: not YAML: but found another document"),
        ("a: \0\n", "f.yaml: not YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    assert refused(text) == message


@pytest.mark.parametrize(
    "bomb",
    [
        "a: &a [x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
        "a: &a [*a]\n",
        "[" * 60 + "]" * 60,
        "[" * 5000,
        "{a: " * 3000 + "}" * 3000,
        "a: &a [" + "x," * 20_000 + "]\nb: [" + "*a," * 50 + "]\n",
    ],
    ids=["laughs", "itself", "deep", "open", "deep mappings", "many values"],
)
def test_a_bomb_is_refused_before_it_grows(bomb: str) -> None:
    assert any(word in refused(bomb) for word in ("nested deeper", "more than"))


@given(text=st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%#\n \t,?@1."), max_size=40))
def test_any_text_is_read_or_refused_and_never_a_crash(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(parse_yaml(text), Document)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.yaml"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: 1\nb: \xff\n", r"f.yaml:2: not UTF-8"), (b"a: " + b"x" * 1_000_000, "larger than 1,000,000 bytes")],
)
def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(Invalid, match=message):
        read_yaml(tmp_path / "f.yaml")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot read"):
        read_yaml(tmp_path)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(tmp_path / "f.yaml").root == {"a": 1}
