"""What an engine is asked is read once, or refused by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.chat_templates import Call, Message
from serving.engines.fields import parse
from serving.engines.requests import read_chat, read_completion, read_embedding
from serving.openai_errors import Refusal

HELLO = [{"role": "user", "content": "hello"}]


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def _called(arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]
    assert read_chat({"messages": [{"role": "developer", "content": parts}]}).messages == (
        Message("system", "be brief"),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_choice", "required"),
        ("tool_choice", "sometimes"),
        ("parallel_tool_calls", "yes"),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("response_format", {"type": "xml"}),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": 5}}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": _nested(200)}}),
        ("response_format", "json"),
        ("logprobs", 5),
        ("top_logprobs", 21),
        ("top_logprobs", 2),
        ("frequency_penalty", 3),
        ("presence_penalty", "much"),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"5": 101}),
        ("logit_bias", [5]),
        ("reasoning_effort", "low"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("web_search_options", {}),
        ("service_tier", "flex"),
        ("verbosity", "high"),
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
        ({"role": "function", "content": "x"}, "messages.0.role"),
        ({"role": "tool", "content": "x"}, "messages.0.tool_call_id"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "messages.0.tool_calls.0"),
        ({"role": "assistant", "tool_calls": [_called("[1]")]}, "messages.0.tool_calls.0.function.arguments"),
        ({"role": "assistant", "tool_calls": [_called("{")]}, "messages.0.tool_calls.0.function.arguments"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages.0.function_call"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages.0.content.0.type"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "messages.0.content.0.text"),
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
    body |= {"user": "u", "metadata": {"a": "b"}, "store": True, "reasoning_effort": "none", "my_extra": 1}
    assert read_chat({**body, "response_format": {"type": "text"}}).options.schema is None


def test_what_is_asked_of_sampling_is_read() -> None:
    sampling = read_chat(
        {
            "messages": HELLO,
            "logprobs": True,
            "top_logprobs": 3,
            "logit_bias": {"5": -100, "7": 2.5},
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
        }
    ).options.sampling
    assert (sampling.logprobs, sampling.logit_bias) == (3, ((5, -100.0), (7, 2.5)))
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.5, -0.5)


def test_a_conversation_with_calls_is_read() -> None:
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [_called('{"a": 1}')]},
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
    ]
    assert read_chat({"messages": messages}).messages == (
        Message("assistant", "", (Call("c1", "f", '{"a": 1}'),)),
        Message("tool", "5", answers="c1"),
    )


@pytest.mark.parametrize(
    ("told", "schema"),
    [
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}, {"type": "array"}),
    ],
)
def test_a_response_format_is_a_schema(told: dict[str, Any], schema: dict[str, Any]) -> None:
    assert read_chat({"messages": HELLO, "response_format": told}).options.schema == schema


def test_echo_with_logprobs_scores_the_prompt_and_needs_no_answer() -> None:
    ask = read_completion({"prompt": "a", "echo": True, "logprobs": 1, "max_tokens": 0})
    assert (ask.echo, ask.options.sampling.score_prompt, ask.options.sampling.max_tokens) == (True, True, 0)
    assert not read_completion({"prompt": "a", "echo": True}).options.sampling.score_prompt


@pytest.mark.parametrize(
    ("field", "value", "more"),
    [
        ("max_tokens", 0, {}),
        ("logprobs", 21, {}),
        ("suffix", "x", {}),
        ("best_of", 1, {"n": 2}),
        ("best_of", 2, {"stream": True}),
        ("tools", [{"type": "function"}], {}),
        ("echo", "yes", {}),
    ],
)
def test_a_field_of_completions_that_cannot_be_honoured_is_named(field: str, value: Any, more: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        read_completion({"prompt": "a", field: value, **more})
    assert caught.value.param == field


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
