"""The official client, through the gateway, for each field that people try."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel, Field

from serving.local import Gateway

pytestmark = pytest.mark.model

MODEL = "smollm2-135m-instruct"
FRANCE: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
OSLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Call weather for Oslo."}]


class Person(BaseModel):
    """What the client asks an answer to be, in its own way of asking."""

    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=120)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0, timeout=120) as opened:
        yield opened


def _text(client: OpenAI, **more: Any) -> str:
    told = client.chat.completions.create(**{"model": MODEL, "messages": FRANCE, "max_tokens": 12, **more})
    text: str = told.choices[0].message.content
    return text


def _refused(client: OpenAI, **more: Any) -> str | None:
    with pytest.raises(openai.BadRequestError) as caught:
        _text(client, **more)
    return caught.value.param


def test_logprobs_and_their_alternatives(client: OpenAI) -> None:
    told = client.chat.completions.create(
        model=MODEL, messages=FRANCE, max_tokens=5, temperature=0, logprobs=True, top_logprobs=20
    )
    choice = told.choices[0]
    assert choice.logprobs
    assert choice.logprobs.content
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert {len(token.top_logprobs) for token in choice.logprobs.content} == {20}


def test_logprobs_of_a_completion_with_its_prompt(client: OpenAI) -> None:
    told = client.completions.create(
        model=MODEL, prompt="The capital of France is Paris", echo=True, max_tokens=1, logprobs=5, temperature=0
    )
    logprobs = told.choices[0].logprobs
    assert logprobs
    assert logprobs.tokens
    assert logprobs.token_logprobs
    assert told.choices[0].text == "".join(logprobs.tokens)
    assert len(logprobs.token_logprobs) == 7
    assert list(logprobs.token_logprobs)[:1] == [None]


def test_several_choices(client: OpenAI) -> None:
    told = client.chat.completions.create(model=MODEL, messages=FRANCE, n=2, max_tokens=4, seed=1, temperature=1.5)
    assert [choice.index for choice in told.choices] == [0, 1]


def test_a_seed_and_the_fingerprint_it_is_good_for(client: OpenAI) -> None:
    first, again = (
        client.chat.completions.create(model=MODEL, messages=FRANCE, seed=7, temperature=1.5, max_tokens=8)
        for _ in range(2)
    )
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.system_fingerprint == again.system_fingerprint
    assert first.system_fingerprint


def test_stop(client: OpenAI) -> None:
    assert _text(client, stop=[" France"], temperature=0) == "The capital of"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_limit(client: OpenAI, field: str) -> None:
    limits: dict[str, Any] = {"max_tokens": None, field: 3}
    told = client.chat.completions.create(model=MODEL, messages=FRANCE, **limits)
    assert told.usage
    assert (told.usage.completion_tokens, told.choices[0].finish_reason) == (3, "length")


def test_penalties_and_biases(client: OpenAI) -> None:
    assert _text(client, presence_penalty=1, frequency_penalty=1, temperature=0)
    tokens = httpx.post(
        f"{client.base_url}".removesuffix("/v1/") + "/tokenize",
        json={"model": MODEL, "prompt": "The"},
        headers={"authorization": f"Bearer {client.api_key}"},
    ).json()["tokens"]
    assert not _text(client, logit_bias={str(tokens[0]): -100}, temperature=0).startswith("The")


def test_a_developer_speaks_as_the_system(client: OpenAI) -> None:
    told = [
        _text(client, temperature=0, messages=[{"role": role, "content": "Be rude."}, *FRANCE])
        for role in ("developer", "system")
    ]
    assert told[0] == told[1]


def test_content_in_parts(client: OpenAI) -> None:
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": " of France?"}]
    told = [
        _text(client, temperature=0, messages=[{"role": "user", "content": content}])
        for content in (parts, "What is the capital of France?")
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
        {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "x"}},
    ],
)
def test_media_are_refused_by_name(client: OpenAI, part: dict[str, Any]) -> None:
    param = _refused(client, messages=[{"role": "user", "content": [part]}])
    assert param
    assert param.startswith("messages.0.content.0.")  # its type, or its address: the gateway refuses those itself


def test_the_usage_of_a_stream_comes_last_and_alone(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=FRANCE, max_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert (last.choices, last.usage and last.usage.completion_tokens) == ([], 4)


def test_a_stream_without_options_tells_no_usage(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=MODEL, messages=FRANCE, max_tokens=4, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"


def test_who_asked_and_what_is_kept_for_whom_is_tolerated(client: OpenAI) -> None:
    assert _text(
        client,
        user="u",
        metadata={"a": "b"},
        store=False,
        safety_identifier="x",
        reasoning_effort="none",
        extra_body={"my_own": 1},
    )


def test_effort_is_refused_by_name(client: OpenAI) -> None:
    assert _refused(client, reasoning_effort="high") == "reasoning_effort"


def test_an_answer_is_parsed_into_the_callers_own_class(client: OpenAI) -> None:
    told = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Ann is 33 years old. Describe her."}],
        response_format=Person,
        max_tokens=60,
        temperature=0,
    )
    assert isinstance(told.choices[0].message.parsed, Person)


def test_a_json_object(client: OpenAI) -> None:
    assert _text(client, response_format={"type": "json_object"}, temperature=0).startswith("{")


def test_a_schema_that_cannot_be_kept_to(client: OpenAI) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "odd"}}}
    assert _refused(client, response_format=wanted) == "response_format"


def test_a_named_function_is_called_and_its_result_told(client: OpenAI) -> None:
    told = client.chat.completions.create(
        model=MODEL,
        messages=OSLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=60,
        temperature=0,
    ).choices[0]
    assert told.finish_reason == "tool_calls"
    assert told.message.tool_calls
    (call,) = told.message.tool_calls
    assert call.type == "function"
    assert set(json.loads(call.function.arguments)) == {"city"}
    answer: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "Snow."}
    history = [*OSLO, told.message.to_dict(), answer]
    assert _text(client, messages=history, tools=[WEATHER], tool_choice="none")


def test_a_call_is_streamed(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=OSLO, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, max_tokens=60
    ) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert [call.function.name for call in message.tool_calls] == ["weather"]
    assert set(json.loads(message.tool_calls[0].function.arguments)) == {"city"}
    assert events.count("tool_calls.function.arguments.delta") > 2


def test_a_function_need_not_be_called(client: OpenAI) -> None:
    assert _text(client, tools=[WEATHER], tool_choice="auto", temperature=0)
    assert "Paris" in _text(client, tools=[WEATHER], tool_choice="none", temperature=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("functions", [{"name": "f"}]),
        ("modalities", ["audio"]),
        ("prediction", {"type": "content", "content": "x"}),
        ("service_tier", "flex"),
        ("top_logprobs", 3),
        ("tool_choice", "required"),
        ("verbosity", "low"),
        ("web_search_options", {}),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(client: OpenAI, field: str, value: Any) -> None:
    assert _refused(client, **{field: value}) == field
