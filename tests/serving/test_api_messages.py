"""The messages of the gateway, by Anthropic's official client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api import messages_request
from serving.api.messages_stream import MessageStream
from serving.api.sse import Lines
from tests.serving.chats import CALLS, as_chunks, chat, telling, texts

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import Message

    from tests.serving.conftest import House, Wire

WEATHER = {"name": "weather", "description": "Of a town", "input_schema": {"type": "object"}}
HELLO = [{"role": "user", "content": "Hello"}]
BODY = {"model": "mock", "max_tokens": 9, "messages": HELLO}


@pytest.fixture
async def client(house: House) -> AsyncIterator[AsyncAnthropic]:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(base_url=house.base_url, api_key=house.token, max_retries=0) as opened:
        yield opened


async def made(client: AsyncAnthropic, **more: Any) -> Message:
    message: Message = await client.messages.create(**{**BODY, **more})
    return message


def said(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def test_a_message_is_answered(house: House, client: AsyncAnthropic) -> None:
    house.upstream.script = telling(chat("Hi there"))
    system = [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}]
    message = await made(client, system=system, stop_sequences=["END"], metadata={"user_id": "u7"})
    assert (said(message), message.stop_reason, message.role) == ("Hi there", "end_turn", "assistant")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 2)
    asked = house.upstream.wires[0].request
    assert asked["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    assert (asked["max_completion_tokens"], asked["stop"], asked["user"]) == (9, ["END"], "u7")


async def test_calls_of_tools_and_their_results_go_there_and_back(house: House, client: AsyncAnthropic) -> None:
    house.upstream.script = telling(chat("Let me see.", calls=CALLS))
    message = await made(client, tools=[WEATHER])
    assert message.stop_reason == "tool_use"
    uses = [block for block in message.content if block.type == "tool_use"]
    assert [(use.id, use.name, use.input) for use in uses] == [
        ("call_1", "weather", {"town": "Oslo"}),
        ("call_2", "weather", {"town": "Rome"}),
    ]
    results = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "-3 °C"}]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "no such town", "is_error": True},
        {"type": "text", "text": "And?"},
    ]
    turns = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    await made(client, tools=[WEATHER], messages=turns)
    asked = house.upstream.wires[1].request["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "tool", "tool", "user"]
    assert asked[1]["content"] == "Let me see."
    assert [json.loads(call["function"]["arguments"]) for call in asked[1]["tool_calls"]] == [
        {"town": "Oslo"},
        {"town": "Rome"},
    ]
    assert [each["content"] for each in asked[2:4]] == ["-3 °C", "error: no such town"]


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_each_form_of_a_choice_is_a_chats(choice: dict[str, Any], asked: Any) -> None:
    body = {**BODY, "tools": [WEATHER], "tool_choice": {**choice, "disable_parallel_tool_use": True}}
    chat = messages_request.to_chat(body)
    assert (chat["tool_choice"], chat["parallel_tool_calls"]) == (asked, False)


async def test_a_stream_tells_block_after_block(house: House) -> None:
    house.upstream.script = telling(chat("Hi", calls=CALLS[:1]))
    answer = await house.http.post("/v1/messages", json={**BODY, "tools": [WEATHER], "stream": True})
    events = [(name, json.loads(data)) for name, data in Lines().feed(answer.content)]
    assert all(name == event["type"] for name, event in events)
    kinds = [name for place, (name, _) in enumerate(events) if place == 0 or events[place - 1][0] != name]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert kinds == ["message_start", *block, *block, "message_delta", "message_stop"]
    assert [event["index"] for name, event in events if name == "content_block_start"] == [0, 1]
    [ended] = [event for name, event in events if name == "message_delta"]
    assert ended["delta"]["stop_reason"] == "tool_use"
    assert ended["usage"]["output_tokens"] == 2


async def test_the_clients_own_gathering_of_a_stream_is_the_whole_message(house: House, client: AsyncAnthropic) -> None:
    house.upstream.script = telling(chat("Hi there", calls=CALLS))
    asked: Any = {**BODY, "tools": [WEATHER]}
    async with client.messages.stream(**asked) as stream:
        assert "".join([text async for text in stream.text_stream]) == "Hi there"
        gathered = await stream.get_final_message()
    whole = await made(client, tools=[WEATHER])
    assert [block.model_dump(include={"type", "text", "input"}) for block in gathered.content] == [
        block.model_dump(include={"type", "text", "input"}) for block in whole.content
    ]
    assert gathered.stop_reason == whole.stop_reason
    assert gathered.usage.output_tokens == whole.usage.output_tokens
    assert gathered.usage.input_tokens == whole.usage.input_tokens


@pytest.mark.parametrize(("reason", "told"), [("stop", "end_turn"), ("length", "max_tokens")])
async def test_why_it_ended_is_told_in_their_words(
    house: House, client: AsyncAnthropic, reason: str, told: str
) -> None:
    house.upstream.script = telling(chat("Hi", reason=reason))
    assert (await made(client)).stop_reason == told


async def test_the_stop_sequence_that_ended_it_is_told_where_the_engine_says_so(
    house: House, client: AsyncAnthropic
) -> None:
    ended = chat("Hi")
    ended["choices"][0]["stop_reason"] = "END"
    house.upstream.script = telling(ended)
    message = await made(client, stop_sequences=["END"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


async def test_tokens_are_counted_by_the_engine(house: House, client: AsyncAnthropic) -> None:
    async def count(wire: Wire) -> None:
        await wire.json({"count": 11, "max_model_len": 100, "tokens": [1] * 11})

    house.upstream.script = count
    asked: Any = {"model": "mock", "messages": HELLO, "system": "Be short.", "tools": [WEATHER]}
    assert (await client.messages.count_tokens(**asked)).input_tokens == 11
    [wire] = house.upstream.wires
    assert wire.path == "/tokenize"
    assert [message["role"] for message in wire.request["messages"]] == ["system", "user"]


async def test_a_key_opens_the_door_as_either_of_their_headers(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    for headers in ({"x-api-key": house.token, "authorization": ""}, {"authorization": f"Bearer {house.token}"}):
        answer = await house.http.post("/v1/messages", json=BODY, headers=headers)
        assert answer.json()["type"] == "message"


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
async def test_both_versions_of_their_api_are_spoken(house: House, version: str) -> None:
    house.upstream.script = telling(chat("Hi"))
    headers = {"anthropic-version": version}
    assert (await house.http.post("/v1/messages", json=BODY, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_errors_are_in_their_shape_and_name_the_request(house: House, path: str) -> None:
    cases = [
        ({"x-api-key": "wrong", "authorization": ""}, "POST", BODY, 401, "authentication_error"),
        ({}, "POST", {**BODY, "model": "nobody"}, 404, "not_found_error"),
        ({}, "POST", {**BODY, "messages": []}, 400, "invalid_request_error"),
        ({"anthropic-version": "1999-01-01"}, "POST", BODY, 400, "invalid_request_error"),
        ({"content-type": "text/plain"}, "POST", BODY, 415, "invalid_request_error"),
        ({}, "GET", None, 405, "invalid_request_error"),
    ]
    for headers, method, body, status, kind in cases:
        content = None if body is None else json.dumps(body)
        given = {"content-type": "application/json", **headers}
        answer = await house.http.request(method, path, content=content, headers=given)
        assert (answer.status_code, answer.json()["type"], answer.json()["error"]["type"]) == (status, "error", kind)
        assert answer.json()["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


async def test_the_client_raises_what_it_raises_elsewhere(house: House, client: AsyncAnthropic) -> None:
    import anthropic

    async def busy(wire: Wire) -> None:
        await wire.json({"error": {"message": "slowly", "type": "rate_limit_error"}}, status=429)

    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        await made(client, model="nobody")
    house.upstream.script = busy
    with pytest.raises(anthropic.RateLimitError, match="slowly"):
        await made(client)


async def test_an_engine_that_dies_in_mid_stream_is_an_error_event(house: House, client: AsyncAnthropic) -> None:
    import anthropic

    async def die(wire: Wire) -> None:
        await wire.stream("Hel")

    house.upstream.script = die
    with pytest.raises(anthropic.APIStatusError, match="hung up"):
        async for _ in await client.messages.create(**{**BODY, "stream": True}):  # type: ignore[call-overload]
            pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_k", 5),
        ("thinking", {"type": "enabled", "budget_tokens": 1024}),
        ("max_tokens", 0),
        ("temperature", 1.5),
        ("mcp_servers", [{"name": "x"}]),
        ("tools", [{"type": "web_search_20250305", "name": "web_search"}]),
        ("messages", [{"role": "assistant", "content": "I"}]),
        ("messages", [{"role": "system", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "x"}}]}]),
        ("messages", [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]),
        ("tool_choice", {"type": "any"}),
        ("stop_sequences", "END"),
        ("stream", 1),
    ],
)
async def test_what_is_not_done_here_is_refused_by_its_name(house: House, field: str, value: Any) -> None:
    answer = await house.http.post("/v1/messages", json={**BODY, field: value})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
    assert house.upstream.wires == []


@given(chunks=as_chunks(), cuts=st.lists(st.integers(1, 40), max_size=60))
def test_however_the_bytes_of_a_stream_are_cut_the_events_are_the_same(
    chunks: list[dict[str, Any]], cuts: list[int]
) -> None:
    whole = b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)
    pieces, rest = [], whole
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]

    def events(parts: list[bytes]) -> list[dict[str, Any]]:
        lines, stream = Lines(), MessageStream("msg_1", "m")
        return [e for part in parts for _, data in lines.feed(part) for e in stream.feed(json.loads(data))]

    assert events([*pieces, rest]) == events([whole])


@given(chunks=as_chunks())
def test_blocks_never_overlap_and_are_the_text_and_the_calls(chunks: list[dict[str, Any]]) -> None:
    stream = MessageStream("msg_1", "m")
    events = [event for chunk in chunks for event in stream.feed(chunk)] + stream.end()
    opened: int | None = None
    for event in events:
        if event["type"] == "content_block_start":
            assert opened is None
            opened = event["index"]
        elif event["type"].startswith("content_block"):
            assert event["index"] == opened
            opened = None if event["type"] == "content_block_stop" else opened
    text, calls = texts(chunks)
    blocks = stream.message["content"]
    assert "".join(block["text"] for block in blocks if block["type"] == "text") == text
    assert [block["input"] for block in blocks if block["type"] == "tool_use"] == [json.loads(call) for call in calls]


_TEXT = st.text(min_size=1, max_size=8)
_USE = st.builds(lambda n: {"type": "tool_use", "id": f"t{n}", "name": "f", "input": {"n": n}}, st.integers(0, 99))
_RESULT = st.builds(
    lambda n, t: {"type": "tool_result", "tool_use_id": f"t{n}", "content": t}, st.integers(0, 99), _TEXT
)


@given(texts=st.lists(_TEXT, max_size=2), uses=st.lists(_USE, max_size=3), results=st.lists(_RESULT, max_size=3))
def test_roles_calls_and_results_come_through_as_they_are(
    texts: list[str], uses: list[dict[str, Any]], results: list[dict[str, Any]]
) -> None:
    blocks = [{"type": "text", "text": text} for text in texts]
    turns = [
        {"role": "assistant", "content": [*blocks, *uses]},
        {"role": "user", "content": [*results, {"type": "text", "text": "go on"}]},
    ]
    first, *back, last = messages_request.to_chat({**BODY, "messages": turns})["messages"]
    assert (first["role"], first["content"] or "") == ("assistant", "".join(texts))
    calls = [(call["id"], json.loads(call["function"]["arguments"])) for call in first.get("tool_calls", [])]
    assert calls == [(use["id"], use["input"]) for use in uses]
    assert [(m["role"], m["tool_call_id"], m["content"]) for m in back] == [
        ("tool", result["tool_use_id"], result["content"]) for result in results
    ]
    assert last == {"role": "user", "content": "go on"}
