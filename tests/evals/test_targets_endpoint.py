from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.cache import Cache
from evals.targets.endpoint import Endpoint
from evals.targets.target import Answer, Question
from evals.tasks.rows import Row
from flows.prices import Price, Prices
from tests.evals.answering import Reply, answering

ROW = Row(number=0, id="r", inputs={}, choices=("a cat", "a dog", "it"))


async def answered(endpoint: Endpoint, question: Question) -> Answer:
    await endpoint.open([], Path())
    try:
        return await endpoint.answer(question)
    finally:
        await endpoint.close()


def likely(_: int, body: dict[str, Any]) -> Reply:
    """Say that words of "a dog" are likely, and that "it", being short, is likeliest in all."""
    prompt: str = body["prompt"]
    words = prompt.split(" ")
    places = [len(" ".join(words[:index])) for index in range(len(words))]
    values = [None, *(-1.0 if word in ("a", "dog", "it") else -3.0 for word in words[1:])]
    logprobs = {"tokens": [*words, "!"], "text_offset": [*places, len(prompt)], "token_logprobs": [*values, -9.0]}
    said = {"choices": [{"text": f"{prompt}!", "logprobs": logprobs}], "usage": {"prompt_tokens": len(words)}}
    assert (body["echo"], body["logprobs"]) == (True, 1)
    return Reply(raw=json.dumps(said).encode())


async def test_the_likeliest_choice_is_told_by_sum_and_by_length() -> None:
    with answering(likely) as server:
        endpoint = Endpoint(base_url=server.url, model="m", choosing="loglikelihood")
        answer = await answered(endpoint, Question(row=ROW, prompt="What barks?"))
    assert answer.outputs["loglikelihoods"] == [-4.0, -2.0, -1.0]
    assert (answer.text, answer.outputs["normalized_answer"]) == ("C", "B")


async def test_the_likeliest_letter_is_asked_by_letter() -> None:
    with answering(likely) as server:
        endpoint = Endpoint(base_url=server.url, model="m", choosing="letter_loglikelihood")
        await answered(endpoint, Question(row=ROW, prompt="Answer:"))
    assert [body["prompt"] for body in server.asked] == ["Answer: A", "Answer: B", "Answer: C"]


async def test_a_server_without_log_probabilities_is_an_error() -> None:
    with answering(lambda *_: Reply(raw=b'{"choices": [{"text": "x"}]}')) as server:
        endpoint = Endpoint(base_url=server.url, model="m", choosing="loglikelihood")
        answer = await answered(endpoint, Question(row=ROW, prompt="x"))
    assert (answer.text, answer.error) == (None, "the endpoint gives no log-probabilities of what it is sent (`echo`)")


async def test_tool_calls_come_beside_the_answer_and_tokens_have_a_price() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    choice = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    said = {"model": "gpt-x", "choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}
    with answering(lambda *_: Reply(raw=json.dumps(said).encode())) as server:
        endpoint = Endpoint(base_url=server.url, model="m", prices=Prices({"gpt-*": Price(1.0, 2.0)}))
        answer = await answered(endpoint, Question(row=ROW))
    assert (answer.text, answer.outputs["tool_calls"], answer.cost) == ("", [call], 0.002)


@pytest.mark.parametrize("usage", [b'"many"', b'{"prompt_tokens": "many"}', b"[1]", b"null"])
async def test_tokens_that_are_no_numbers_are_not_known(usage: bytes) -> None:
    raw = b'{"choices": [{"message": {"content": "x"}}], "model": 7, "usage": ' + usage + b"}"
    with answering(lambda *_: Reply(raw=raw)) as server:
        answer = await answered(Endpoint(base_url=server.url, model="m"), Question(row=ROW))
    assert (answer.text, answer.tokens, answer.model) == ("x", None, "7")


async def test_another_revision_of_the_model_is_asked_anew(tmp_path: Path) -> None:
    with answering(lambda *_: Reply("4")) as server:
        for revision in ("one", "one", "two"):
            cache = Cache(tmp_path)
            question = Question(row=ROW, messages=[{"role": "user", "content": "2+2"}])
            endpoint = Endpoint(base_url=server.url, model="m", revision=revision, cache=cache)
            assert (await answered(endpoint, question)).text == "4"
            cache.close()
    assert len(server.asked) == 2


def test_a_cache_that_cannot_be_read_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "eval-cache.db").write_bytes(b"no database" * 100)
    cache = Cache(tmp_path)
    cache.put(b"k", {"a": 1})
    assert cache.get(b"k") is None
    assert "not a database" in str(cache.trouble)
    cache.close()
