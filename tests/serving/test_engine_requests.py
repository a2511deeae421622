"""What an engine is asked is read once, or refused by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from serving.engines.requests import parse, read_chat, read_completion, read_embedding
from serving.openai_errors import Refusal

HELLO = [{"role": "user", "content": "hello"}]


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]
    assert read_chat({"messages": [{"role": "developer", "content": parts}]}).messages == (("system", "be brief"),)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("n", 0),
        ("n", 1000),
        ("temperature", 3),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("top_p", -1),
        ("max_tokens", 0),
        ("max_completion_tokens", 1.5),
        ("seed", "x"),
        ("stop", 7),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("messages", []),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(field: str, value: Any) -> None:
    with pytest.raises(Refusal) as caught:
        read_chat({"messages": HELLO, field: value})
    assert (caught.value.param, caught.value.status) == (field, 400)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages.0.role"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages.0.content.0.type"),
        ({"role": "user"}, "messages.0.content"),
        ("hello", "messages.0"),
    ],
)
def test_a_wrong_message_is_named(message: object, param: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_chat({"messages": [message]})
    assert caught.value.param == param


def test_neutral_values_and_unknown_extras_are_tolerated() -> None:
    body = {"messages": HELLO, "tools": [], "tool_choice": "auto", "logprobs": False, "presence_penalty": 0.0}
    assert read_chat({**body, "response_format": {"type": "text"}, "user": "u", "my_extra": 1}).options.n == 1


def test_the_newer_name_of_the_limit_wins() -> None:
    options = read_chat({"messages": HELLO, "max_tokens": 5, "max_completion_tokens": 7}).options
    assert options.sampling.max_tokens == 7


def test_a_completion_without_a_limit_has_sixteen_tokens() -> None:
    assert read_completion({"prompt": "a"}).options.sampling.max_tokens == 16


@pytest.mark.parametrize(
    ("value", "read"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_inputs_are_texts_or_token_numbers(value: object, read: object) -> None:
    assert read_embedding({"input": value}).inputs == read
    assert read_completion({"prompt": value}).prompts == read


@pytest.mark.parametrize("value", [None, [], 5, [True], [[]], ["a", 1], [-1]])
def test_other_inputs_are_refused(value: object) -> None:
    with pytest.raises(Refusal, match="'input'"):
        read_embedding({"input": value})


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Refusal):
        parse(raw)
