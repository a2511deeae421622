"""Responses and messages over a real model, by the official clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

from serving.local import Gateway

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types import MessageParam, ToolParam
    from openai.types.responses import FunctionToolParam

pytestmark = pytest.mark.model

CHAT = "smollm2-135m-instruct"
CAPITAL = "What is the capital of France? Answer in one short sentence."
ASKED: list[MessageParam] = [{"role": "user", "content": CAPITAL}]
TOWN: dict[str, object] = {
    "type": "object",
    "properties": {"town": {"type": "string", "maxLength": 20}},
    "required": ["town"],
    "additionalProperties": False,
}


@pytest.fixture
def openai(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0) as opened:
        yield opened


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[Anthropic]:
    from anthropic import Anthropic

    url = gateway.base_url.removesuffix("/v1")
    with Anthropic(base_url=url, api_key=gateway.token, max_retries=0) as opened:
        yield opened


def test_a_conversation_of_responses_knows_what_was_said_before(openai: OpenAI) -> None:
    first = openai.responses.create(model=CHAT, input=CAPITAL, temperature=0, max_output_tokens=16)
    assert "Paris" in first.output_text
    assert first.usage
    second = openai.responses.create(
        model=CHAT, input="And again?", previous_response_id=first.id, temperature=0, max_output_tokens=16
    )
    assert second.usage
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens


def test_a_streamed_response_is_the_same_answer_in_pieces(openai: OpenAI) -> None:
    whole = openai.responses.create(model=CHAT, input=CAPITAL, temperature=0, max_output_tokens=16)
    with openai.responses.stream(model=CHAT, input=CAPITAL, temperature=0, max_output_tokens=16) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == whole.output_text
    assert len(pieces) > 1
    assert final.usage
    assert whole.usage
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_a_response_that_must_call_calls_with_arguments_that_fit(openai: OpenAI) -> None:
    tool: FunctionToolParam = {"type": "function", "name": "weather", "parameters": TOWN, "strict": True}
    for stream in (False, True):
        asked: dict[str, Any] = {"model": CHAT, "input": "The weather in Paris?", "tools": [tool], "temperature": 0}
        asked |= {"tool_choice": "required", "parallel_tool_calls": False, "max_output_tokens": 60}
        answer: Any = openai.responses.create(**asked, stream=stream)
        response = next(event.response for event in answer if event.type == "response.completed") if stream else answer
        [call] = response.output
        assert (call.type, call.name) == ("function_call", "weather")
        assert set(json.loads(call.arguments)) == {"town"}


def test_a_response_fits_the_schema_that_it_is_asked_to(openai: OpenAI) -> None:
    response = openai.responses.create(
        model=CHAT,
        input="Name a town.",
        temperature=0,
        text={"format": {"type": "json_schema", "name": "place", "schema": TOWN, "strict": True}},
    )
    assert set(json.loads(response.output_text)) == {"town"}


def test_a_message_is_answered_whole_and_streamed(claude: Anthropic) -> None:
    asked: dict[str, Any] = {"model": CHAT, "messages": ASKED, "max_tokens": 16, "extra_body": {"temperature": 0}}
    whole = claude.messages.create(**asked)
    with claude.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in text
    assert whole.content[0].type == "text"
    assert whole.content[0].text == text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens > 10


def test_a_message_that_must_use_a_tool_uses_it(claude: Anthropic) -> None:
    tool: ToolParam = {"name": "weather", "input_schema": TOWN}
    message = claude.messages.create(
        model=CHAT,
        max_tokens=60,
        messages=[{"role": "user", "content": "The weather in Paris?"}],
        tools=[tool],
        tool_choice={"type": "tool", "name": "weather"},
        extra_body={"temperature": 0},
    )
    assert message.stop_reason == "tool_use"
    [use] = message.content
    assert use.type == "tool_use"
    assert set(use.input) == {"town"}


def test_the_tokens_of_a_message_are_those_that_it_costs(claude: Anthropic) -> None:
    counted = claude.messages.count_tokens(model=CHAT, messages=ASKED)
    answered = claude.messages.create(model=CHAT, messages=ASKED, max_tokens=1)
    assert counted.input_tokens == answered.usage.input_tokens + (answered.usage.cache_read_input_tokens or 0)
