"""The gateway over real engines, spoken to by the official OpenAI client."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from serving.local import Gateway
from workspace.home import Workspace

pytestmark = pytest.mark.model

CHAT = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
CAPITAL: list[ChatCompletionUserMessageParam] = [
    {"role": "user", "content": "What is the capital of France? Answer in one short sentence."}
]
STORY: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Tell me a very long story about the sea."}]


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0) as opened:
        yield opened


def engines(gateway: Gateway) -> dict[str, int]:
    """Return the process of each engine that runs, by its model."""
    found = httpx.get(gateway.base_url.removesuffix("/v1") + "/health").json()["engines"]
    return {engine["model"]: engine["pid"] for engine in found}


def active(gateway: Gateway, workspace: Workspace) -> int:
    """Ask the engine itself how many answers it is generating."""
    pid = engines(gateway)[f"model:{CHAT}:1"]
    records = [json.loads(path.read_text()) for path in (workspace.home / "services").glob("engine-*.json")]
    path = next(record["socket"] for record in records if record["pid"] == pid)
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as direct:
        return int(direct.get("http://engine/health").json()["active"])


def test_every_model_is_listed_under_its_own_name(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} >= {CHAT, EMBEDDER}


def test_a_model_is_retrieved_by_name_by_version_and_by_deployment(client: OpenAI) -> None:
    for name in (CHAT, f"{CHAT}:1", f"{CHAT}/default"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("smollm3")


def test_a_chat_is_answered_with_counts_and_headers_that_say_by_whom(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=CAPITAL, max_tokens=12, temperature=0)
    answer = raw.parse()
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.completion_tokens <= 12
    assert raw.headers["x-studiolo-deployment"] == f"{CHAT}/default"
    assert raw.headers["x-studiolo-model"] == f"model:{CHAT}:1"
    assert answer._request_id == raw.headers["x-request-id"]


def test_a_stream_is_the_same_answer_in_pieces(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=12, temperature=0)
    stream = client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=12, temperature=0, stream=True)
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_the_counts_when_asked_to(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = client.chat.completions.create(
        model=CHAT, messages=CAPITAL, max_tokens=5, stream=True, stream_options=options
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage
    assert 1 <= last.usage.completion_tokens <= 5


def test_an_answer_stops_where_told(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=CAPITAL, temperature=0, max_tokens=30, stop=["Paris"])
    assert "Paris" not in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


def test_the_same_seed_gives_the_same_words(client: OpenAI) -> None:
    def words(seed: int) -> str | None:
        answer = client.chat.completions.create(model=CHAT, messages=STORY, seed=seed, temperature=1.0, max_tokens=16)
        return answer.choices[0].message.content

    assert words(7) == words(7) != words(8)


def test_a_plain_prompt_is_completed(client: OpenAI) -> None:
    answer = client.completions.create(model=CHAT, prompt="The capital of France is", max_tokens=4, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_texts_of_like_meaning_are_embedded_close_together(client: OpenAI) -> None:
    texts = ["The cat sat on the mat.", "A cat is sitting on a rug.", "Interest rates rose again."]
    found = [item.embedding for item in client.embeddings.create(model=EMBEDDER, input=texts).data]

    def likeness(a: list[float], b: list[float]) -> float:
        return math.sumprod(a, b) if hasattr(math, "sumprod") else sum(x * y for x, y in zip(a, b, strict=True))

    assert likeness(found[0], found[1]) > 0.5 > likeness(found[0], found[2])


def test_a_wrong_token_is_an_authentication_error(gateway: Gateway) -> None:
    with (
        OpenAI(base_url=gateway.base_url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_a_not_found_error_that_names_the_known_ones(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=CHAT) as caught:
        client.chat.completions.create(model="gpt-4", messages=CAPITAL)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(("field", "value"), [("temperature", 9), ("logit_bias", {"1": 500}), ("max_tokens", -1)])
def test_what_the_engine_cannot_do_is_a_400_that_names_the_field(client: OpenAI, field: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=CHAT, messages=CAPITAL, extra_body={field: value})
    assert caught.value.param == field


async def test_many_at_once_are_answered_by_one_engine(gateway: Gateway) -> None:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.token) as client:

        async def ask(number: int) -> str:
            stream = await client.chat.completions.create(
                model=CHAT, messages=CAPITAL, max_tokens=8, temperature=0, stream=bool(number % 2)
            )
            if isinstance(stream, openai.AsyncStream):
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return stream.choices[0].message.content or ""

        answers = await asyncio.gather(*[ask(number) for number in range(8)])
    assert all("Paris" in answer for answer in answers)
    assert list(engines(gateway)).count(f"model:{CHAT}:1") == 1


def test_closing_a_stream_ends_the_generation_within_a_second(
    client: OpenAI, gateway: Gateway, model_workspace: Workspace
) -> None:
    stream = client.chat.completions.create(model=CHAT, messages=STORY, max_tokens=1_500, stream=True)
    next(iter(stream))
    assert active(gateway, model_workspace) == 1
    stream.close()
    deadline = time.monotonic() + 1
    while active(gateway, model_workspace):
        assert time.monotonic() < deadline, "still generating for nobody"
        time.sleep(0.02)


def test_leaving_before_the_answer_ends_the_generation_within_a_second(
    gateway: Gateway, client: OpenAI, model_workspace: Workspace
) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=CHAT, messages=STORY, max_tokens=1_500)
    deadline = time.monotonic() + 1
    while active(gateway, model_workspace):
        assert time.monotonic() < deadline, "still generating for nobody"
        time.sleep(0.02)


def test_a_request_leaves_one_row_with_its_tokens(client: OpenAI, model_workspace: Workspace) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=CAPITAL, max_tokens=3)
    rows: list[Any] = []
    while not rows:  # it is written a moment after the answer
        model_workspace.spool.ingest()
        rows = model_workspace.sql(f"SELECT payload FROM events WHERE event_id = '{raw.headers['x-request-id']}'").rows
    [row] = [json.loads(payload) if isinstance(payload, str) else payload for (payload,) in rows]
    assert row["model"] == f"model:{CHAT}:1"
    assert row["completion_tokens"] == 3
    assert row["prompt_tokens"] > 10


def test_an_engine_killed_in_mid_stream_is_told_and_the_next_request_starts_a_new_one(
    client: OpenAI, gateway: Gateway
) -> None:
    stream = client.chat.completions.create(model=CHAT, messages=STORY, max_tokens=1_500, stream=True)
    chunks = iter(stream)
    next(chunks)
    killed = engines(gateway)[f"model:{CHAT}:1"]
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="hung up"):
        list(chunks)
    assert client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=2).choices
    assert engines(gateway)[f"model:{CHAT}:1"] != killed
