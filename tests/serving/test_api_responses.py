"""The responses of the gateway, by the official client: made, streamed, kept, continued, deleted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI
from sqlalchemy import select, update

from serving.api import responses_request
from serving.api.responses_stream import ResponseStream
from serving.api.sse import Lines
from tests.serving.chats import CALLS, USED, as_chunks, chat, telling, texts
from workspace.tables import responses

if TYPE_CHECKING:
    from openai.types.responses import FunctionToolParam, Response

    from tests.serving.conftest import House, Wire

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a town",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": True,
}


async def made(house: House, **more: Any) -> Response:
    response: Response = await house.client.responses.create(**{"model": "mock", "input": "Hello", **more})
    return response


async def test_a_text_is_answered_with_a_response(house: House) -> None:
    house.upstream.script = telling(chat("Hi there"))
    response = await made(house, instructions="Be short.", max_output_tokens=9, temperature=0.5, metadata={"a": "b"})
    assert (response.output_text, response.status, response.metadata) == ("Hi there", "completed", {"a": "b"})
    assert response.usage
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 2)
    asked = house.upstream.wires[0].request
    assert [(m["role"], m["content"]) for m in asked["messages"]] == [("system", "Be short."), ("user", "Hello")]
    assert (asked["max_completion_tokens"], asked["temperature"]) == (9, 0.5)


async def test_a_call_comes_as_an_item_and_its_output_goes_back(house: House) -> None:
    house.upstream.script = telling(chat(None, calls=CALLS[:1]))
    first = await made(house, tools=[WEATHER], tool_choice="required", parallel_tool_calls=False)
    [call] = first.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), call.call_id) == ("weather", {"town": "Oslo"}, "call_1")
    asked = house.upstream.wires[0].request
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("required", False)
    house.upstream.script = telling(chat("Cold."))
    output = {"type": "function_call_output", "call_id": "call_1", "output": "-3 °C"}
    assert (await made(house, input=[output], previous_response_id=first.id)).output_text == "Cold."
    roles = [message["role"] for message in house.upstream.wires[1].request["messages"]]
    assert roles == ["user", "assistant", "tool"]
    assert house.upstream.wires[1].request["messages"][1]["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize(
    ("choice", "asked", "tools"),
    [
        ("auto", None, 2),
        ("none", "none", 2),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}, 2),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"name": "weather"}]}, "required", 1),
    ],
)
def test_each_form_of_a_choice_is_a_chats(choice: Any, asked: Any, tools: int) -> None:
    body = {"model": "m", "input": "x", "tools": [WEATHER, {**WEATHER, "name": "tide"}], "tool_choice": choice}
    request = responses_request.read(body, own="1").to_chat([])
    assert (request.get("tool_choice"), len(request["tools"])) == (asked, tools)


async def test_an_answer_may_be_asked_to_fit_a_schema(house: House) -> None:
    house.upstream.script = telling(chat("{}"))
    form = {"type": "json_schema", "name": "nothing", "schema": {"type": "object"}, "strict": True}
    response = await made(house, text={"format": form})
    asked = house.upstream.wires[0].request["response_format"]
    assert asked == {
        "type": "json_schema",
        "json_schema": {"name": "nothing", "schema": {"type": "object"}, "strict": True},
    }
    assert response.text
    assert response.text.format
    assert response.text.format.type == "json_schema"


async def test_a_stream_tells_what_happens_in_numbered_events(house: House) -> None:
    house.upstream.script = telling(chat("Hi there", calls=CALLS))
    kinds: list[str] = []
    numbers: list[int] = []
    async for event in await house.client.responses.create(model="mock", input="Hello", tools=[WEATHER], stream=True):
        if not kinds or kinds[-1] != event.type:
            kinds.append(event.type)
        numbers.append(event.sequence_number)
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        *(
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
        )
        * 2,
        "response.completed",
    ]
    assert numbers == list(range(len(numbers)))


async def test_the_clients_own_gathering_of_a_stream_is_the_whole_response(house: House) -> None:
    house.upstream.script = telling(chat("Hi there", calls=CALLS))
    async with house.client.responses.stream(model="mock", input="Hello", tools=[WEATHER]) as stream:
        async for _ in stream:
            pass
        gathered = await stream.get_final_response()
    whole = await made(house, tools=[WEATHER])
    assert gathered.output_text == whole.output_text == "Hi there"
    assert [item.type for item in gathered.output] == [item.type for item in whole.output]
    assert gathered.usage == whole.usage


async def test_a_stream_ends_with_the_mark_that_open_responses_asks_for(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    answer = await house.http.post("/v1/responses", json={"model": "mock", "input": "Hello", "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
    assert answer.headers["x-studiolo-deployment"] == "mock/blue"


async def test_an_answer_cut_at_its_length_is_incomplete(house: House) -> None:
    house.upstream.script = telling(chat("Hi", reason="length"))
    response = await made(house)
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    events = [event async for event in await house.client.responses.create(model="mock", input="x", stream=True)]
    assert events[-1].type == "response.incomplete"


async def test_an_engine_that_dies_in_mid_stream_is_a_failed_response_with_what_was_said(house: House) -> None:
    async def die(wire: Wire) -> None:
        await wire.stream("Hel")

    house.upstream.script = die
    events = [event async for event in await house.client.responses.create(model="mock", input="x", stream=True)]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error
    assert "hung up" in events[-1].response.error.message
    assert events[-1].response.output_text == "Hel"


async def test_what_is_no_chat_is_a_502_and_no_response(house: House) -> None:
    async def babble(wire: Wire) -> None:
        await wire.json({"choices": "none"})

    house.upstream.script = babble
    answer = await house.http.post("/v1/responses", json={"model": "mock", "input": "Hello"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")


async def test_a_response_is_kept_shown_and_deleted(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    response = await made(house)
    assert (await house.client.responses.retrieve(response.id)).output_text == "Hi"
    await house.client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await house.client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        await house.client.responses.delete(response.id)


async def test_a_streamed_response_is_there_when_its_end_is_told(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    async for event in await house.client.responses.create(model="mock", input="x", stream=True):
        if event.type == "response.completed":
            assert (await house.client.responses.retrieve(event.response.id)).output_text == "Hi"
            return
    pytest.fail("it did not end")


async def test_a_response_that_is_not_to_be_kept_is_not(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    response = await made(house, store=False)
    with pytest.raises(openai.NotFoundError):
        await house.client.responses.retrieve(response.id)


async def test_a_response_older_than_thirty_days_is_gone_when_the_next_is_kept(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    old = await made(house)
    with house.workspace.database.write() as connection:
        connection.execute(update(responses).values(created_at=responses.c.created_at - 31 * 86_400))
    new = await made(house)
    with pytest.raises(openai.NotFoundError):
        await house.client.responses.retrieve(old.id)
    assert (await house.client.responses.retrieve(new.id)).id == new.id


@pytest.mark.parametrize("name", ["resp_1", "%00", "%F0%9F", "..", "x" * 5_000, "resp_%27%20OR%201=1"])
async def test_an_id_that_is_none_is_not_found(house: House, name: str) -> None:
    for path in (f"/v1/responses/{name}", f"/v1/responses/{name}/input_items"):
        assert (await house.http.get(path)).status_code == 404


async def test_what_one_token_made_is_not_there_for_another(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    response = await made(house)
    other = house.workspace.tokens.create("guest")
    async with AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=other, max_retries=0) as guest:
        for attempt in (
            guest.responses.retrieve(response.id),
            guest.responses.delete(response.id),
            guest.responses.input_items.list(response.id),
            guest.responses.create(model="mock", input="x", previous_response_id=response.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await attempt
    assert (await house.client.responses.retrieve(response.id)).id == response.id


async def test_a_conversation_is_replayed_but_not_its_instructions(house: House) -> None:
    house.upstream.script = telling(chat("One."))
    first = await made(house, input="First", instructions="Old.")
    second = await made(house, input="Second", previous_response_id=first.id)
    await made(house, input="Third", previous_response_id=second.id, instructions="New.")
    said = [(message["role"], message["content"]) for message in house.upstream.wires[2].request["messages"]]
    assert said == [
        ("system", "New."),
        ("user", "First"),
        ("assistant", "One."),
        ("user", "Second"),
        ("assistant", "One."),
        ("user", "Third"),
    ]


async def test_the_items_that_a_response_answered_are_listed_in_pages(house: House) -> None:
    house.upstream.script = telling(chat("One."))
    first = await made(house, input="First")
    second = await made(house, input="Second", previous_response_id=first.id)
    items = [item async for item in house.client.responses.input_items.list(second.id, order="asc", limit=1)]
    assert [item.role for item in items if item.type == "message"] == ["user", "assistant", "user"]
    newest = await house.client.responses.input_items.list(second.id)
    assert [item.id for item in newest.data] == [item.id for item in reversed(items)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("background", True),
        ("conversation", "conv_1"),
        ("prompt", {"id": "p"}),
        ("truncation", "middle"),
        ("include", ["file_search_call.results"]),
        ("tools", [{"type": "web_search"}]),
        ("tool_choice", {"type": "web_search"}),
        ("service_tier", "flex"),
        ("temperature", 9),
        ("input", []),
        ("input", [{"type": "item_reference", "id": "x"}]),
        ("input", [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]),
        ("metadata", {"a": 1}),
        ("store", "yes"),
        ("text", {"format": {"type": "xml"}}),
    ],
)
async def test_what_is_not_done_here_is_refused_by_its_name(house: House, field: str, value: Any) -> None:
    answer = await house.http.post("/v1/responses", json={"model": "mock", "input": "x", field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].split(".")[0] == field
    assert house.upstream.wires == []


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
async def test_a_client_that_leaves_ends_the_generation_and_nothing_is_kept(house: House, path: str) -> None:
    gone = asyncio.Event()

    async def talk(wire: Wire) -> None:
        await wire.stream("Hel")
        await wire.closed()
        gone.set()

    house.upstream.script = talk
    turns = [{"role": "user", "content": "x"}]
    body = {"model": "mock", "input": "x", "max_tokens": 9, "messages": turns, "stream": True}
    async with house.http.stream("POST", path, json=body) as answer:
        await anext(answer.aiter_bytes())
    await asyncio.wait_for(gone.wait(), 1)
    with house.workspace.database.read() as connection:
        assert connection.execute(select(responses)).all() == []


async def test_it_is_one_row_under_its_own_path(house: House) -> None:
    house.upstream.script = telling(chat("Hi"))
    await made(house)
    async with asyncio.timeout(5):
        while not (rows := house.rows()):
            await asyncio.sleep(0.01)
    [row] = rows
    assert (row["path"], row["status"], row["completion_tokens"]) == ("/v1/responses", 200, 2)


@given(chunks=as_chunks(), cuts=st.lists(st.integers(1, 40), max_size=60))
def test_however_the_bytes_of_a_stream_are_cut_the_events_are_the_same(
    chunks: list[dict[str, Any]], cuts: list[int]
) -> None:
    whole = b"".join(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in chunks)
    pieces, rest = [], whole
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]

    def events(parts: list[bytes]) -> list[dict[str, Any]]:
        lines, stream = Lines(), ResponseStream("resp_1", {}, now=0)
        found = stream.begin()
        for part in parts:
            for _, data in lines.feed(part):
                found += stream.feed(json.loads(data))
        return found

    assert events([*pieces, rest]) == events([whole])


@given(chunks=as_chunks())
def test_the_deltas_of_a_stream_are_its_text_and_its_calls(chunks: list[dict[str, Any]]) -> None:
    stream = ResponseStream("resp_1", {}, now=0)
    events = stream.begin()
    for chunk in chunks:
        events += stream.feed(chunk)
    events += stream.end()
    text, calls = texts(chunks)
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == text
    said = {
        e["output_index"]: "".join(
            d["delta"]
            for d in events
            if d["type"] == "response.function_call_arguments.delta" and d["output_index"] == e["output_index"]
        )
        for e in events
        if e["type"] == "response.output_item.added" and e["item"]["type"] == "function_call"
    }
    assert list(said.values()) == calls
    assert [item["arguments"] for item in stream.response["output"] if item["type"] == "function_call"] == calls
    opened = [e["type"].rpartition(".")[2] for e in events if e["type"].startswith("response.output_item.")]
    assert opened == ["added", "done"] * len(stream.response["output"])
    assert USED["prompt_tokens"] == stream.response["usage"]["input_tokens"]


_WORDS = st.text(max_size=8)
_OUTPUT = st.lists(
    st.one_of(
        st.tuples(st.just("user"), _WORDS),
        st.tuples(st.just("assistant"), _WORDS),
        st.tuples(st.just("system"), _WORDS),
    ),
    min_size=1,
    max_size=6,
)


@given(turns=_OUTPUT)
def test_roles_and_texts_come_through_as_they_are(turns: list[tuple[str, str]]) -> None:
    body = {"model": "m", "input": [{"role": role, "content": text} for role, text in turns]}
    messages = responses_request.read(body, own="1").to_chat([])["messages"]
    assert [(message["role"], message["content"]) for message in messages] == turns


@given(chunks=as_chunks())
def test_an_answer_given_back_is_the_message_that_the_engine_said(chunks: list[dict[str, Any]]) -> None:
    stream = ResponseStream("resp_1", {}, now=0)
    for chunk in chunks:
        stream.feed(chunk)
    stream.end()
    body = {"model": "m", "input": stream.response["output"]}
    [message] = responses_request.read(body, own="1").to_chat([])["messages"]
    text, calls = texts(chunks)
    assert message["role"] == "assistant"
    assert (message["content"] or "") == text
    assert [call["function"]["arguments"] for call in message.get("tool_calls", [])] == calls
