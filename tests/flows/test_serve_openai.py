"""A served flow as an OpenAI chat model, asked by the official client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import flows
from flows.flow import Input
from flows.serve.openai_chat import inputs_of

if TYPE_CHECKING:
    from tests.flows.conftest import Server


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


# The flow as a chat model


MESSAGES: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": [{"type": "text", "text": "Three?"}]},
]
SAID = "Three? after [({'question': 'One?'}, {'answer': 'Two.'})]: 0 1 2 "


def test_the_flow_is_the_one_model(chat: Server) -> None:
    assert [model.id for model in client_of(chat).models.list()] == ["talk"]


def test_the_last_message_is_the_question_and_the_rest_is_history(chat: Server) -> None:
    answer = client_of(chat).chat.completions.create(model="talk", messages=MESSAGES)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"


def test_an_answer_streams_to_the_openai_client(chat: Server) -> None:
    stream = client_of(chat).chat.completions.create(
        model="talk", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert pieces == ["", SAID.removesuffix("0 1 2 "), "0 ", "1 ", "2 ", None]
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_other_inputs_come_beside_the_conversation(chat: Server) -> None:
    answer = client_of(chat).chat.completions.create(
        model="talk", messages=MESSAGES, extra_body={"inputs": {"words": 1}}
    )
    assert (answer.choices[0].message.content or "").endswith(": 0 ")


def test_another_model_is_not_found(chat: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client_of(chat).chat.completions.create(model="gpt", messages=MESSAGES)


def test_a_flow_that_is_no_chat_says_so(plain: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat flow"):
        client_of(plain).chat.completions.create(model="plain", messages=MESSAGES)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("basic", ["See", {"data:image/png;base64": "aGk="}, {"data:image/*;url": "http://x/i.png"}]),
        ("openai-vision", None),
    ],
)
def test_images_reach_a_flow_in_its_own_format(tmp_path: Path, format: str, expected: Any) -> None:  # noqa: A002
    flow = flows.Flow(
        name="see",
        folder=tmp_path,
        file=tmp_path / "flow.dag.yaml",
        message_format=format,
        inputs={"question": Input(name="question", type="list", is_chat_input=True)},
    )
    content = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "http://x/i.png"}},
    ]
    assert inputs_of(flow, [{"role": "user", "content": content}], {}) == {"question": expected or content}


# Failures, by whose doing they are


def test_a_node_that_raises_is_a_failure_of_the_server_that_asking_again_does_not_mend(chat: Server) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client_of(chat).chat.completions.create(model="talk", messages=MESSAGES, extra_body={"inputs": {"words": 41}})
    assert (caught.value.status_code, caught.value.code) == (500, "flow_failed")
    assert "too many words" in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("inputs", [{"words": "many"}, {"words": []}])
def test_inputs_that_cannot_be_right_are_the_clients_doing(chat: Server, inputs: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="input for flow is incorrect"):
        client_of(chat).chat.completions.create(model="talk", messages=MESSAGES, extra_body={"inputs": inputs})


def test_a_node_that_raises_in_the_middle_of_a_stream_is_told_in_openais_shape(chat: Server) -> None:
    stream = client_of(chat).chat.completions.create(
        model="talk", messages=MESSAGES, stream=True, extra_body={"inputs": {"words": 41}}
    )
    with pytest.raises(openai.APIError, match="too many words") as caught:
        list(stream)
    assert caught.value.code == "flow_failed"
