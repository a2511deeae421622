"""The gateway over real engines, spoken to by the official OpenAI client."""

from __future__ import annotations

import httpx
import openai
import pytest
from openai import OpenAI

from serving.local import Gateway

pytestmark = pytest.mark.model

CHAT = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}]


@pytest.fixture
def client(gateway: Gateway) -> OpenAI:
    return OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0)


def test_every_model_is_listed_under_its_own_name(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} >= {CHAT, EMBEDDER}


def test_a_model_is_retrieved_by_name_by_version_and_by_deployment(client: OpenAI) -> None:
    for name in (CHAT, f"{CHAT}:1", f"{CHAT}/default"):
        assert client.models.retrieve(name).id == name


def test_a_chat_is_answered_with_counts_and_headers_that_say_by_whom(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=QUESTION, max_tokens=12, temperature=0)
    answer = raw.parse()
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.completion_tokens <= 12
    assert raw.headers["x-studiolo-deployment"] == f"{CHAT}/default"
    assert raw.headers["x-studiolo-model"] == f"model:{CHAT}:1"
    assert answer._request_id == raw.headers["x-request-id"]
