"""Functions are offered as asked, told to the model, and their calls found in what it says, however it is cut up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.chat_templates import Call, Message
from serving.engines.templates import Template
from serving.engines.tool_calls import Argued, Begun, CallReader, Piece, Said
from serving.engines.tools import NOTHING, Offer, read_offer
from serving.openai_errors import Refusal
from tests.serving.letters import byte_tokenizer

PLAIN = "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
OWN = (
    "{% for tool in tools or [] %}tool {{ tool | tojson }}\n{% endfor %}"
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function.arguments.city }}</tool_call>{% endfor %}"
    "{{ '\\n' }}{% endfor %}"
)
ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "a \\"}\\" b", "n": [{}]}}\n</tool_call>'
TALK = [
    Message("system", "Be brief."),
    Message("user", "Weather?"),
    Message("assistant", "", (Call("c1", "weather", '{"city": "Oslo"}'),)),
    Message("tool", "cold", answers="c1"),
    Message("tool", "wet", answers="c2"),
]


def _function(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def _offer(choice: object = "auto") -> Offer:
    return read_offer({"tools": [_function("weather", description="w"), _function("time")], "tool_choice": choice})


@pytest.mark.parametrize(
    ("choice", "names", "must", "most"),
    [
        (None, {"weather", "time"}, False, 16),
        ("auto", {"weather", "time"}, False, 16),
        ("none", set(), False, 1),
        ("required", {"weather", "time"}, True, 16),
        (_function("time"), {"time"}, True, 1),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [_function("time")]}},
            {"time"},
            True,
            16,
        ),
    ],
)
def test_the_choice_says_what_may_and_must_be_called(choice: object, names: set[str], must: bool, most: int) -> None:
    offer = _offer(choice)
    assert (set(offer.names), offer.must, offer.most) == (names, must, most)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "custom"}]}, "tools.0.type"),
        ({"tools": [_function("a b")]}, "tools.0.function.name"),
        ({"tools": [_function("a", parameters=[1])]}, "tools.0.function.parameters"),
        ({"tools": [_function("a", strict="x")]}, "tools.0.function.strict"),
        ({"tools": [_function("a"), _function("a")]}, "tools"),
        ({"tools": [_function("a")], "tool_choice": _function("b")}, "tool_choice"),
        ({"tools": [_function("a")], "tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"tools": [_function("a")], "tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_wrong_tool_or_choice_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_offer(body)
    assert caught.value.param == param


def test_a_template_without_tools_gets_them_in_the_system_message_and_answers_from_the_user() -> None:
    text = Template(byte_tokenizer(PLAIN)).render(TALK, _offer())
    assert text.startswith("[system] Be brief.\n\nYou can call functions.")
    assert '"name": "weather"' in text
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>\n[user]' in text
    assert text.endswith("[user] <tool_response>\ncold\n</tool_response>\n<tool_response>\nwet\n</tool_response>\n")


def test_without_a_system_message_there_is_one_for_the_tools() -> None:
    assert Template(byte_tokenizer(PLAIN)).render([Message("user", "x")], _offer()).startswith("[system] You can call")
    assert Template(byte_tokenizer(PLAIN)).render([Message("user", "x")], NOTHING) == "[user] x\n"


def test_a_template_that_knows_tools_is_given_them_as_they_are() -> None:
    text = Template(byte_tokenizer(OWN)).render(TALK, _offer())
    assert text.startswith('tool {"type": "function"')
    assert "<tool_call>Oslo</tool_call>\n[tool] cold\n[tool] wet\n" in text


def test_a_template_that_refuses_names_the_messages() -> None:
    with pytest.raises(Refusal, match="alternate"):
        Template(byte_tokenizer("{{ raise_exception('must alternate') }}")).render(TALK, NOTHING)


def _read(*texts: str) -> tuple[str, list[tuple[str, str]]]:
    reader = CallReader(frozenset({"weather", "time"}))
    pieces: list[Piece] = [piece for text in texts for piece in reader.push(text)] + reader.finish()
    said = "".join(piece.text for piece in pieces if isinstance(piece, Said))
    begun = [piece for piece in pieces if isinstance(piece, Begun)]
    assert [piece.call for piece in begun] == list(range(reader.calls))
    arguments = ["".join(p.text for p in pieces if isinstance(p, Argued) and p.call == one.call) for one in begun]
    return said, [(one.name, text) for one, text in zip(begun, arguments, strict=True)]


@given(st.lists(st.integers(1, 9), min_size=1))
def test_however_the_text_is_cut_the_pieces_are_the_same(sizes: list[int]) -> None:
    text = f"Let me see.\n{ONE}\n{ONE} done <tool"
    cut: list[str] = []
    place = 0
    while place < len(text):
        size = sizes[len(cut) % len(sizes)]
        cut.append(text[place : place + size])
        place += size
    said, calls = _read(*cut)
    assert (said, calls) == ("Let me see. done <tool", _read(text)[1])
    assert [json.loads(arguments)["city"] for _, arguments in calls] == ['a "}" b'] * 2


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\nnot JSON\n</tool_call>",
        '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "weather", "arguments": 5}\n</tool_call>',
        '<tool_call>\n{"name": "wea',
        "a < b <tool_",
    ],
)
def test_what_only_looks_like_a_call_is_text(text: str) -> None:
    assert _read(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"arguments": {"a": 1}, "name": "time"}</tool_call>',
        '<tool_call>{"name":"time","parameters":{"a": 1}}</tool_call>',
        '<tool_call>{"name": "time", "arguments": {"a": 1}}',
    ],
)
def test_other_ways_to_write_a_call_are_understood(text: str) -> None:
    assert _read(text) == ("", [("time", '{"a": 1}')])


def test_arguments_come_while_they_are_written() -> None:
    reader = CallReader(frozenset({"time"}))
    assert reader.push('hi <tool_call>{"name": "time", "argum')[0] == Said("hi")
    begun, *_ = reader.push('ents": ') + reader.push("{")
    assert isinstance(begun, Begun)
    assert reader.push('"a": "b') == [Argued(0, '"a": "b')]
