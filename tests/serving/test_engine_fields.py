"""Every field of a request is honoured by the real model, over the engine's socket."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.serving.engine_process import engine
from tests.serving.letters import SCHEMAS
from workspace import Workspace

pytestmark = pytest.mark.model

Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MODEL = "smollm2-135m-instruct"
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "Tell the weather.", "parameters": CITY}},
    {"type": "function", "function": {"name": "now", "description": "Tell the time."}},
]


@pytest.fixture(scope="module")
def chat(model_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with engine(model_workspace, MODEL, "chat", tmp_path_factory.mktemp("chat")) as client:
        yield client


def _ask(client: httpx.Client, path: str = CHAT, **body: Any) -> dict[str, Any]:
    answer = client.post(path, json={"temperature": 0, **body})
    assert answer.is_success, answer.text
    read: dict[str, Any] = answer.json()
    return read


def _chunks(client: httpx.Client, path: str = CHAT, **body: Any) -> list[dict[str, Any]]:
    text = client.post(path, json={"temperature": 0, **body, "stream": True}).text
    lines = [line for line in text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [choice for line in lines[:-1] for choice in json.loads(line.removeprefix("data: "))["choices"]]


def _refused(client: httpx.Client, path: str = CHAT, **body: Any) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    param: str = answer.json()["error"]["param"]
    return param


def test_the_tokens_of_a_chat_are_its_text_and_the_likeliest_ones(chat: httpx.Client) -> None:
    choice = _ask(chat, messages=FRANCE, logprobs=True, top_logprobs=3)["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert b"".join(bytes(token["bytes"]) for token in tokens).decode() == choice["message"]["content"] == PARIS
    for token in tokens:
        assert len(token["top_logprobs"]) == 3
        assert {key: token[key] for key in ("token", "logprob", "bytes")} == token["top_logprobs"][0]
    assert [token["token"] for token in _streamed_tokens(chat)] == [token["token"] for token in tokens]


def _streamed_tokens(chat: httpx.Client) -> list[dict[str, Any]]:
    chunks = _chunks(chat, messages=FRANCE, logprobs=True)
    return [token for chunk in chunks if chunk["logprobs"] for token in chunk["logprobs"]["content"]]


def test_a_stop_string_is_in_no_list_of_tokens(chat: httpx.Client) -> None:
    choice = _ask(chat, messages=FRANCE, logprobs=True, stop=" France")["choices"][0]
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == "The capital of"


def test_an_echoed_prompt_has_the_probabilities_of_the_model(chat: httpx.Client, model_workspace: Workspace) -> None:
    from transformers import AutoModelForCausalLM

    tokens = chat.post("/tokenize", json={"prompt": "The capital of France is Paris, not Rome. " * 60}).json()["tokens"]
    told = _ask(chat, TEXT, prompt=tokens, echo=True, max_tokens=0, logprobs=1)["choices"][0]["logprobs"]
    folder = model_workspace.assets.path(model_workspace.assets.get("model", MODEL))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        rows = model(input_ids=torch.tensor([tokens])).logits[0].log_softmax(dim=-1)
    expected = rows[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
    assert len(tokens) > 600  # it was read in parts
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:] == pytest.approx(expected, abs=2e-2)


def test_a_harness_measures_the_likelihood_of_continuations(chat: httpx.Client) -> None:
    context, paris, stone = (
        chat.post("/tokenize", json={"prompt": text}).json()["tokens"]
        for text in ("The capital of France is", " Paris", " stone soup")
    )
    prompts = [context + paris, context + stone]
    body: dict[str, Any] = {
        "prompt": prompts,
        "echo": True,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "temperature": 0,
    }
    choices = _ask(chat, TEXT, **body)["choices"]
    found = []
    for choice in choices:  # what lm-evaluation-harness does with it
        logprobs = choice["logprobs"]["token_logprobs"][len(context) : -1]
        tops = choice["logprobs"]["top_logprobs"][len(context) : -1]
        found.append((sum(logprobs), all(own == max(top.values()) for own, top in zip(logprobs, tops, strict=True))))
    assert found[0][0] > found[1][0]
    assert [greedy for _, greedy in found] == [True, False]
    assert choices[0]["text"].startswith("The capital of France is Paris")
    assert choices[0]["logprobs"]["text_offset"][:3] == [0, 3, 11]


def test_an_echo_is_streamed_before_the_answer(chat: httpx.Client) -> None:
    ask: dict[str, Any] = {"prompt": "The capital of France is", "echo": True, "max_tokens": 3, "logprobs": 2}
    whole = _ask(chat, TEXT, **ask)["choices"][0]
    chunks = _chunks(chat, TEXT, **ask)
    assert "".join(chunk["text"] for chunk in chunks) == whole["text"]
    offsets = [offset for chunk in chunks if chunk["logprobs"] for offset in chunk["logprobs"]["text_offset"]]
    assert offsets == whole["logprobs"]["text_offset"]


def test_choices_of_one_seed_differ_and_come_again(chat: httpx.Client) -> None:
    ask: dict[str, Any] = {"messages": FRANCE, "temperature": 1.8, "seed": 5, "n": 3, "max_tokens": 8}
    first, again = ([choice["message"]["content"] for choice in _ask(chat, **ask)["choices"]] for _ in range(2))
    assert first == again
    assert len(set(first)) == 3


def test_the_best_of_several_is_the_likeliest(chat: httpx.Client) -> None:
    ask: dict[str, Any] = {"prompt": "Once upon a time", "temperature": 1.5, "seed": 3, "max_tokens": 5}
    every = _ask(chat, TEXT, **ask, n=3, logprobs=0)["choices"]
    means = [sum(choice["logprobs"]["token_logprobs"]) / len(choice["logprobs"]["tokens"]) for choice in every]
    best = _ask(chat, TEXT, **ask, best_of=3)
    assert [choice["text"] for choice in best["choices"]] == [every[means.index(max(means))]["text"]]
    assert best["usage"]["completion_tokens"] == 15


def test_a_token_that_is_banned_does_not_come(chat: httpx.Client) -> None:
    (token,) = chat.post("/tokenize", json={"prompt": "The"}).json()["tokens"]
    choice = _ask(chat, messages=FRANCE, logit_bias={str(token): -100}, max_tokens=6)["choices"][0]
    assert not choice["message"]["content"].startswith("The")
    assert _refused(chat, messages=FRANCE, logit_bias={"999999": 1}) == "logit_bias"


def test_a_penalty_ends_a_loop(chat: httpx.Client) -> None:
    ask: dict[str, Any] = {"prompt": "ha ha ha ha ha ha ha ha", "max_tokens": 12}
    plain, penalised = (
        _ask(chat, TEXT, **ask, **more)["choices"][0]["text"] for more in ({}, {"frequency_penalty": 2})
    )
    assert plain.count("ha") > penalised.count("ha")


def test_json_obeys_its_schema_whole_and_streamed(chat: httpx.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    ask: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Describe Ann, 33, as JSON."}],
        "response_format": wanted,
    }
    text = _ask(chat, **ask, max_tokens=60)["choices"][0]["message"]["content"]
    Draft202012Validator(PERSON).validate(json.loads(text))
    assert "".join(chunk["delta"].get("content", "") for chunk in _chunks(chat, **ask, max_tokens=60)) == text


def test_a_json_object_begins_as_one_and_may_be_cut_off(chat: httpx.Client) -> None:
    choice = _ask(chat, messages=FRANCE, response_format={"type": "json_object"}, max_tokens=4)["choices"][0]
    assert choice["message"]["content"].startswith("{")
    assert choice["finish_reason"] == "length"


def test_a_schema_that_cannot_be_kept_to_is_refused(chat: httpx.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"not": {}}}}
    assert _refused(chat, messages=FRANCE, response_format=wanted) == "response_format"


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(SCHEMAS, min_size=8, max_size=8), st.integers(0, 2**32))
def test_whatever_the_schema_an_answer_that_was_not_cut_off_obeys_it(
    chat: httpx.Client, schemas: list[dict[str, Any]], seed: int
) -> None:
    def answer(schema: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
        told = _ask(chat, messages=FRANCE, response_format=wanted, temperature=1, seed=seed, max_tokens=64)
        choice: dict[str, Any] = told["choices"][0]
        return choice

    with ThreadPoolExecutor(len(schemas)) as pool:
        choices = list(pool.map(answer, schemas))
    ended = [pair for pair in zip(schemas, choices, strict=True) if pair[1]["finish_reason"] == "stop"]
    assert ended
    for schema, choice in ended:
        Draft202012Validator(schema).validate(json.loads(choice["message"]["content"]))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_call_that_is_a_must_obeys_the_parameters(chat: httpx.Client, choice: object) -> None:
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "Use the tool weather for Oslo."}], "tools": TOOLS}
    told = _ask(chat, **ask, tool_choice=choice, parallel_tool_calls=False, max_tokens=90)["choices"][0]
    (call,) = told["message"]["tool_calls"]
    assert (told["finish_reason"], told["message"]["content"]) == ("tool_calls", None)
    assert call["id"].startswith("call_")
    if call["function"]["name"] == "weather":
        Draft202012Validator(CITY).validate(json.loads(call["function"]["arguments"]))


def test_a_call_is_streamed_with_its_name_first_and_its_arguments_in_pieces(chat: httpx.Client) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = _chunks(chat, messages=FRANCE, tools=TOOLS, tool_choice=choice, max_tokens=90)
    first, *rest = [call for chunk in chunks for call in chunk["delta"].get("tool_calls", [])]
    assert (first["index"], first["type"], first["function"]) == (0, "function", {"name": "weather", "arguments": ""})
    assert all(set(call) == {"index", "function"} for call in rest)
    Draft202012Validator(CITY).validate(json.loads("".join(call["function"]["arguments"] for call in rest)))
    assert len(rest) > 3
    assert chunks[-1]["finish_reason"] == "tool_calls"


def test_with_tools_that_are_not_needed_or_not_allowed_an_answer_is_text(chat: httpx.Client) -> None:
    told = _ask(chat, messages=FRANCE, tools=TOOLS, tool_choice="none")["choices"][0]
    assert told["message"] == {"role": "assistant", "content": PARIS, "refusal": None}


def test_a_conversation_with_calls_and_their_results_goes_on(chat: httpx.Client) -> None:
    function = {"name": "weather", "arguments": '{"city": "Oslo", "unit": "C"}'}
    messages = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "-40 degrees, snow"},
    ]
    told = _ask(chat, messages=messages, max_tokens=40)["choices"][0]
    assert told["message"]["content"]
    counted = chat.post("/tokenize", json={"messages": messages}).json()
    assert "-40 degrees" in chat.post("/detokenize", json={"tokens": counted["tokens"]}).json()["prompt"]


def test_texts_and_conversations_are_counted_as_they_are_read(chat: httpx.Client) -> None:
    text = chat.post("/tokenize", json={"prompt": "Hello, wörld", "return_token_strs": True}).json()
    assert (text["count"], text["max_model_len"]) == (len(text["tokens"]), 8192)
    assert len(text["token_strs"]) == text["count"]
    assert chat.post("/detokenize", json={"tokens": text["tokens"]}).json() == {"prompt": "Hello, wörld"}
    assert chat.post("/tokenize", json={"messages": FRANCE}).json()["count"] == 37
    assert _refused(chat, "/tokenize", prompt=5) == "prompt"
    assert _refused(chat, "/detokenize", tokens=[999_999]) == "tokens"


def test_neighbours_that_are_held_to_a_grammar_leave_an_answer_as_it_is(chat: httpx.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    asks: list[dict[str, Any]] = [{}, {"response_format": wanted}, {"logprobs": True}, {"presence_penalty": 1.5}]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda more: _ask(chat, messages=FRANCE, max_tokens=30, **more), asks))
    assert told[0]["choices"][0]["message"]["content"] == PARIS
    Draft202012Validator(PERSON).validate(json.loads(told[1]["choices"][0]["message"]["content"]))


@pytest.mark.parametrize(
    ("field", "value"),
    [("functions", [{"name": "f"}]), ("reasoning_effort", "low"), ("modalities", ["audio"]), ("top_logprobs", 5)],
)
def test_what_cannot_be_honoured_is_refused_by_name(chat: httpx.Client, field: str, value: Any) -> None:
    assert _refused(chat, messages=FRANCE, **{field: value}) == field


def test_a_prompt_that_is_too_long_is_told_from_an_answer_that_is(chat: httpx.Client) -> None:
    assert _refused(chat, TEXT, prompt=[5] * 8192, max_tokens=1) == "prompt"
    assert _refused(chat, TEXT, prompt=[5] * 8000, max_tokens=500) == "max_tokens"


def test_pictures_are_refused_by_the_name_of_the_part(chat: httpx.Client) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}}
    assert _refused(chat, messages=[{"role": "user", "content": [part]}]) == "messages.0.content.0.type"
