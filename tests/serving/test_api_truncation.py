"""Conversations that are longer than a model reads: refused by their code, or cut at their beginning if so asked."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from serving import endpoints
from serving.api.truncation import most_dropped, rest
from tests.serving.chats import chat, telling

if TYPE_CHECKING:
    from openai.types.responses import Response

    from serving.local import Gateway
    from tests.serving.conftest import House, Wire
    from workspace.home import Workspace

SMOLLM = "smollm2-135m-instruct"
LENGTH = 256  # tokens that the short model reads


def words(request: dict[str, Any]) -> int:
    """Count as the scripted engine does: a word is a token."""
    said = [message["content"] or json.dumps(message.get("tool_calls")) for message in request["messages"]]
    return sum(len(text.split()) for text in said)


def reading(most: int) -> Any:
    """An engine that reads so many words."""

    async def script(wire: Wire) -> None:
        if wire.path == "/tokenize":
            await wire.json({"count": words(wire.request), "max_model_len": most})
        elif words(wire.request) + wire.request.get("max_completion_tokens", 1) > most:
            error = {"message": "too long", "code": "context_length_exceeded", "param": "messages"}
            await wire.json({"error": error}, status=400)
        else:
            await telling(chat("Yes."))(wire)

    return script


def turns(number: int) -> list[dict[str, str]]:
    """A conversation of messages of ten words each."""
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": f"{place} " + "word " * 9} for place in range(number)]


async def ask(house: House, **body: Any) -> Any:
    return await house.http.post("/v1/responses", json={"model": "mock", "truncation": "auto", **body})


def asked(house: House) -> list[str]:
    """What the engine was asked in the end, by the first word of each message."""
    request = next(wire.request for wire in reversed(house.upstream.wires) if wire.path == "/v1/chat/completions")
    return [(message["content"] or "call").split()[0] for message in request["messages"]]


async def test_as_few_items_as_can_be_go_from_the_beginning_and_the_instructions_stay(house: House) -> None:
    house.upstream.script = reading(50)
    found = await ask(house, input=turns(21), instructions="Be short.", max_output_tokens=8)
    assert (found.status_code, found.json()["truncation"]) == (200, "auto")
    assert asked(house) == ["Be", "17", "18", "19", "20"]
    assert found.headers["x-studiolo-dropped-items"] == "17"
    items = (await house.http.get(f"/v1/responses/{found.json()['id']}/input_items?limit=100")).json()["data"]
    assert len(items) == 21  # what was asked is kept as it was


async def test_what_fits_is_asked_whole(house: House) -> None:
    house.upstream.script = reading(50)
    found = await ask(house, input=turns(4))
    assert asked(house) == ["0", "1", "2", "3"]
    assert "x-studiolo-dropped-items" not in found.headers


async def test_a_conversation_that_goes_on_is_cut_with_what_was_said_before(house: House) -> None:
    house.upstream.script = reading(30)
    previous = None
    for number in range(5):
        found = await ask(house, input=f"{number} {'word ' * 9}", previous_response_id=previous)
        previous = found.json()["id"]
    assert asked(house) == ["Yes.", "3", "Yes.", "4"]  # 22 words, and with the one before 32
    plain = await ask(house, input="5", previous_response_id=previous, truncation="disabled")
    assert (plain.status_code, plain.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_stream_is_cut_alike(house: House) -> None:
    house.upstream.script = reading(50)
    given: Any = turns(21)
    async with house.client.responses.stream(model="mock", input=given, truncation="auto") as stream:
        whole = await stream.get_final_response()
    assert (whole.output_text, whole.truncation) == ("Yes.", "auto")
    assert asked(house) == ["17", "18", "19", "20"]


async def test_without_it_a_conversation_that_is_too_long_is_refused_by_its_code(house: House) -> None:
    house.upstream.script = reading(50)
    for said in ({}, {"truncation": "disabled"}):
        found = await house.http.post("/v1/responses", json={"model": "mock", "input": turns(21), **said})
        error = found.json()["error"]
        assert (found.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "input")


async def test_a_last_item_that_is_too_long_alone_is_refused_by_its_code(house: House) -> None:
    house.upstream.script = reading(9)
    found = await ask(house, input=turns(5))
    error = found.json()["error"]
    assert (found.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "input")
    assert {wire.path for wire in house.upstream.wires} == {"/tokenize"}


async def test_an_engine_that_counts_no_tokens_is_a_400_that_names_the_field(house: House) -> None:
    async def script(wire: Wire) -> None:
        if wire.path == "/tokenize":
            await wire.json({"error": {"message": "no such route"}}, status=404)
        else:
            await wire.json(chat("Yes."))

    house.upstream.script = script
    found = await ask(house, input="Hello")
    assert (found.status_code, found.json()["error"]["param"]) == (400, "truncation")
    assert (await ask(house, input="Hello", truncation="disabled")).status_code == 200


async def test_the_words_of_vllm_get_the_code_that_clients_know(house: House) -> None:
    words = "This model's maximum context length is 8 tokens. However, your prompt contains at least 9 input tokens"

    async def script(wire: Wire) -> None:
        error = {"message": words, "type": "BadRequestError", "param": "input_tokens", "code": 400}
        await wire.json({"error": error}, status=400)

    house.upstream.script = script
    error = (await house.ask()).json()["error"]
    assert (error["code"], error["message"]) == ("context_length_exceeded", words)


CALL = {"type": "function_call", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "output": "cold"}
KINDS = st.lists(st.sampled_from(["message", "call", "output"]), min_size=1, max_size=12)


@given(KINDS, st.integers(0, 11))
def test_an_output_never_stays_without_its_call_and_the_last_item_always_does(kinds: list[str], cut: int) -> None:
    items: list[dict[str, Any]] = []
    for place, kind in enumerate(kinds):
        calls = [item["call_id"] for item in items if item["type"] == "function_call"]
        if kind == "call":
            items.append({**CALL, "call_id": str(place)})
        elif kind == "output" and calls:
            items.append({**OUTPUT, "call_id": calls[-1]})
        else:
            items.append({"type": "message", "role": "user", "content": []})
    kept = rest(items, min(cut, most_dropped(items)))
    assert kept[-1] is items[-1]
    called = {item["call_id"] for item in kept if item["type"] == "function_call"}
    assert {item["call_id"] for item in kept if item["type"] == "function_call_output"} <= called


# A real engine


@dataclass(frozen=True)
class Short:
    """A model that reads few tokens, behind a gateway."""

    model: str
    client: OpenAI
    http: httpx.Client
    url: str

    def respond(self, **asked: Any) -> tuple[Response, int]:
        """Return a response, and how many items were dropped for it."""
        found = self.client.responses.with_raw_response.create(model=self.model, **asked)
        return cast("Response", found.parse()), int(found.headers.get("x-studiolo-dropped-items", 0))

    def count(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        found: dict[str, Any] = self.http.post(
            f"{self.url}/tokenize", json={"model": self.model, "messages": messages}
        ).json()
        return found


@pytest.fixture(scope="module")
def short(model_workspace: Workspace, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Short]:
    """The embedded model, made to read a few tokens only; vLLM is asked the same in its contract."""
    workspace, name = model_workspace, "short"
    folder = tmp_path_factory.mktemp("short") / "model"
    shutil.copytree(workspace.assets.path(workspace.assets.get("model", SMOLLM)), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": LENGTH}))
    workspace.assets.put("model", name, folder, properties={"task": "chat"})
    endpoints.put(workspace, name)
    endpoints.put_deployment(workspace, name, "blue", engine="torch", model=name, properties={"threads": 1})
    endpoints.put(workspace, name, traffic={"blue": 100})
    time.sleep(1.2)  # the gateway looks once a second for what there is
    with httpx.Client(headers={"authorization": f"Bearer {gateway.token}"}, timeout=60) as http:
        client = OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0, timeout=600)
        yield Short(name, client, http, gateway.base_url.removesuffix("/v1"))
    endpoints.remove(workspace, name)


@pytest.mark.model
def test_a_real_model_reads_as_much_of_the_end_of_a_conversation_as_it_can(short: Short) -> None:
    response, dropped = short.respond(input=turns(61), instructions="Be short.", max_output_tokens=8, truncation="auto")
    assert response.usage
    said = {"role": "system", "content": "Be short."}
    counted = short.count([said, *turns(61)[dropped:]])
    assert (counted["count"], counted["max_model_len"]) == (response.usage.input_tokens, LENGTH)
    assert counted["count"] + 8 <= LENGTH
    more = short.count([said, *turns(61)[dropped - 1 :]])
    assert more.get("count", LENGTH) + 8 > LENGTH  # none was dropped that could have stayed


@pytest.mark.model
def test_what_a_real_model_cannot_read_is_refused_by_its_code(short: Short) -> None:
    for asked in ({"input": turns(61)}, {"input": "word " * 400}, {"input": "word " * 400, "truncation": "auto"}):
        with pytest.raises(openai.BadRequestError) as caught:
            short.respond(**asked)
        assert caught.value.code == "context_length_exceeded"
