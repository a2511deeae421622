"""The torch engine, as a process, spoken to over its socket as the gateway does."""

from __future__ import annotations

import base64
import json
import stat
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.engine_process import engine, until
from workspace import Workspace

pytestmark = pytest.mark.model

CHAT = "/v1/chat/completions"
STORY = [{"role": "user", "content": "Write a long story about a lighthouse keeper who finds a map."}]
# Without the token that ends an answer.
ENDLESS = {"messages": STORY, "stream": True, "max_tokens": 4000, "logit_bias": {"2": -100}}
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def chat(model_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with engine(model_workspace, "smollm2-135m-instruct", "chat", tmp_path_factory.mktemp("chat")) as client:
        yield client


@pytest.fixture(scope="module")
def embedder(model_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with engine(model_workspace, "all-minilm-l6-v2", "embedding", tmp_path_factory.mktemp("embed")) as client:
        yield client


def _ask(client: httpx.Client, path: str = CHAT, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.is_success, answer.text
    read: dict[str, Any] = answer.json()
    return read


def _text(client: httpx.Client, **body: Any) -> str:
    text: str = _ask(client, **body)["choices"][0]["message"]["content"]
    return text


def _chunks(client: httpx.Client, path: str = CHAT, **body: Any) -> list[dict[str, Any]]:
    lines = [line for line in client.post(path, json={**body, "stream": True}).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def _counts(usage: dict[str, int]) -> tuple[int, int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]


def _idle(client: httpx.Client) -> bool:
    state = client.get("/health").json()
    return bool(state["active"] == state["waiting"] == 0)


def test_a_question_is_answered(chat: httpx.Client) -> None:
    answer = _ask(chat, messages=FRANCE, temperature=0)
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": "The capital of France is Paris.",
        "refusal": None,
    }
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert _counts(answer["usage"]) == (37, 8, 45)


def test_a_stream_says_what_the_whole_answer_says(chat: httpx.Client) -> None:
    chunks = _chunks(chat, messages=FRANCE, temperature=0)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "The capital of France is Paris."
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_comes_last_and_alone_when_asked_for(chat: httpx.Client) -> None:
    *chunks, last = _chunks(chat, messages=FRANCE, temperature=0, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    assert _counts(last["usage"]) == (37, 8, 45)


def test_the_limit_ends_an_answer_with_its_reason(chat: httpx.Client) -> None:
    answer = _ask(chat, messages=STORY, temperature=0, max_tokens=5)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_a_stop_string_ends_an_answer_and_is_not_in_it(chat: httpx.Client) -> None:
    answer = _ask(chat, messages=FRANCE, temperature=0, stop=["France is P"])
    assert answer["choices"][0]["message"]["content"] == "The capital of "
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(chat: httpx.Client) -> None:
    first, again, other = (_text(chat, messages=STORY, temperature=1.5, seed=seed, max_tokens=20) for seed in (1, 1, 2))
    assert first == again != other


def test_a_tiny_top_p_is_greedy(chat: httpx.Client) -> None:
    assert _text(chat, messages=FRANCE, top_p=0.0001) == _text(chat, messages=FRANCE, temperature=0)


def test_answers_together_equal_answers_alone(chat: httpx.Client) -> None:
    asks = [
        {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": size}
        for text, size in [
            ("Say hi.", 10),
            ("What is the capital of Italy? " * 12, 30),
            ("Count to twenty.", 40),
            ("Name a colour.", 6),
            ("Tell me about bees.", 25),
            ("Why is the sky blue?", 33),
        ]
    ]
    alone = [_text(chat, **ask) for ask in asks]
    with ThreadPoolExecutor(len(asks)) as pool:
        together = list(pool.map(lambda ask: _text(chat, **ask), asks))
    assert together == alone


def test_a_prompt_asked_again_is_not_read_again(chat: httpx.Client) -> None:
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "Name three rivers. " * 20}], "max_tokens": 12}
    first, again = (_ask(chat, temperature=0, **ask) for _ in range(2))
    assert again["choices"] == first["choices"]
    read = again["usage"]["prompt_tokens"] - again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 1 <= read <= 16 < first["usage"]["prompt_tokens"]


def test_several_choices_come_with_their_numbers(chat: httpx.Client) -> None:
    answer = _ask(chat, messages=STORY, temperature=1.2, n=3, max_tokens=8)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 24


def test_closing_a_stream_cancels_the_generation(chat: httpx.Client) -> None:
    with chat.stream("POST", CHAT, json=ENDLESS) as answer:
        lines = answer.iter_lines()  # held: it closes the stream when it goes
        next(lines)
        until(lambda: chat.get("/health").json()["active"] == 1, seconds=5)
    closed = time.monotonic()
    until(lambda: _idle(chat), seconds=5)
    assert time.monotonic() - closed < 1


def test_giving_up_on_an_answer_cancels_the_generation(chat: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        chat.post(CHAT, json={"messages": STORY, "max_tokens": 4000, "temperature": 2}, timeout=0.5)
    until(lambda: _idle(chat), seconds=2)


def test_a_prompt_longer_than_the_context_is_refused(chat: httpx.Client) -> None:
    answer = chat.post(CHAT, json={"messages": [{"role": "user", "content": "word " * 9000}]})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert answer.json()["error"]["param"] == "messages"


def test_a_field_that_cannot_be_honoured_is_refused_by_name(chat: httpx.Client) -> None:
    answer = chat.post(CHAT, json={"messages": FRANCE, "reasoning_effort": "high"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "reasoning_effort"


def test_a_completion_continues_a_text(chat: httpx.Client) -> None:
    answer = _ask(chat, "/v1/completions", prompt=["The capital of France is", "1, 2, 3,"], temperature=0, max_tokens=4)
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert "Paris" in answer["choices"][0]["text"]


def test_a_streamed_completion_has_the_same_text(chat: httpx.Client) -> None:
    ask = {"prompt": "The capital of France is", "temperature": 0, "max_tokens": 6}
    whole = _ask(chat, "/v1/completions", **ask)["choices"][0]["text"]
    chunks = _chunks(chat, "/v1/completions", **ask)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole


def test_a_chat_model_does_not_embed(chat: httpx.Client) -> None:
    answer = chat.post("/v1/embeddings", json={"input": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_an_unknown_path_is_refused_in_openais_shape(chat: httpx.Client) -> None:
    assert chat.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"


def test_only_the_owner_can_open_the_socket(model_workspace: Workspace, tmp_path: Path) -> None:
    with engine(model_workspace, "all-minilm-l6-v2", "embedding", tmp_path):
        assert stat.S_IMODE((tmp_path / "engine.sock").stat().st_mode) == 0o600
    assert not (tmp_path / "engine.sock").exists()


def test_near_texts_have_near_vectors_of_length_one(embedder: httpx.Client) -> None:
    rows = _ask(embedder, "/v1/embeddings", input=["a cat sleeps", "a kitten naps", "the stock market fell"])["data"]
    cat, kitten, market = (row["embedding"] for row in rows)
    assert sum(x * x for x in cat) == pytest.approx(1, abs=1e-5)
    assert _product(cat, kitten) > 0.5 > _product(cat, market)


def _product(left: list[float], right: list[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def test_a_batch_of_texts_equals_each_alone(embedder: httpx.Client) -> None:
    texts = ["short", "a rather longer text about nothing at all", "x " * 100]
    together = [row["embedding"] for row in _ask(embedder, "/v1/embeddings", input=texts)["data"]]
    for text, vector in zip(texts, together, strict=True):
        assert _ask(embedder, "/v1/embeddings", input=text)["data"][0]["embedding"] == pytest.approx(vector, abs=1e-5)


def test_base64_holds_the_same_numbers(embedder: httpx.Client) -> None:
    plain = _ask(embedder, "/v1/embeddings", input="bees")["data"][0]["embedding"]
    packed = _ask(embedder, "/v1/embeddings", input="bees", encoding_format="base64")["data"][0]["embedding"]
    assert list(struct.unpack("<384f", base64.b64decode(packed))) == plain


def test_token_numbers_are_embedded_as_they_are(embedder: httpx.Client) -> None:
    answer = _ask(embedder, "/v1/embeddings", input=[101, 9048, 102])
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_a_text_longer_than_the_encoder_reads_is_refused(embedder: httpx.Client) -> None:
    answer = embedder.post("/v1/embeddings", json={"input": "word " * 600})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_an_embedding_model_does_not_chat(embedder: httpx.Client) -> None:
    assert embedder.post(CHAT, json={"messages": FRANCE}).status_code == 404


def test_an_embedding_model_puts_documents_in_order(embedder: httpx.Client) -> None:
    documents = ["the stock market fell", "a kitten naps", "rain in May"]
    results = _ask(embedder, "/v1/rerank", query="a sleeping cat", documents=documents, top_n=2)["results"]
    assert results[0]["index"] == 1
    assert len(results) == 2


def test_an_embedding_model_counts_texts_and_reads_no_conversations(embedder: httpx.Client) -> None:
    counted = _ask(embedder, "/tokenize", prompt="a cat sleeps")
    assert counted["count"] == _ask(embedder, "/v1/embeddings", input="a cat sleeps")["usage"]["prompt_tokens"]
    assert embedder.post("/tokenize", json={"messages": FRANCE}).json()["error"]["param"] == "messages"
