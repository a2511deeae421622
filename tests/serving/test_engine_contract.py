"""What every engine that chats promises behind the gateway, whichever it is."""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from serving import endpoints, replicas
from tests.serving.drawn_adapter import put_adapter
from tests.serving.engine_houses import FLOW_WORKS, LONG, SOON, House, first_answer, got, wait_for
from tests.serving.engine_houses import house as house


@pytest.mark.model
def test_health_says_of_the_engine_its_state_memory_and_queue(house: House) -> None:
    house.ask()
    told = house.health()
    assert told["state"] == "ready"
    assert told["memory"] > 1_000_000
    assert time.time() - 3600 < told["since"] <= time.time()
    assert told["queue"].keys() == {"active", "waiting"}


@pytest.mark.model
def test_a_chat_is_answered_with_its_usage(house: House) -> None:
    answer = house.ask()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("length", "stop")
    if house.case.counts:
        assert answer.usage.prompt_tokens > 0
        assert 0 < answer.usage.completion_tokens <= 8


@pytest.mark.model
def test_a_stream_is_the_same_text_in_pieces_and_ends_with_its_usage(house: House) -> None:
    whole = house.ask(seed=1).choices[0].message.content
    chunks = list(house.ask(seed=1, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("length", "stop")
    assert chunks[-1].usage is not None
    assert not chunks[-1].choices


@pytest.mark.model
def test_a_conversation_that_is_too_long_is_refused_by_its_code_or_cut_where_asked(house: House) -> None:
    if not house.case.reads:
        pytest.skip("tests/serving/test_api_truncation.py asks this of torch, and of a server that counts no tokens")
    turns: Any = [{"role": ("user", "assistant")[place % 2], "content": "word " * 100} for place in range(21)]
    with pytest.raises(openai.BadRequestError) as caught:
        house.client.responses.create(model=house.name, input=turns, max_output_tokens=8)
    assert caught.value.code == "context_length_exceeded"
    if not house.case.cuts:
        return
    cut = house.client.responses.create(model=house.name, input=turns, max_output_tokens=8, truncation="auto")
    assert cut.usage
    assert house.case.reads - 150 < cut.usage.input_tokens <= house.case.reads - 8


@pytest.mark.model
def test_a_client_that_leaves_is_known_to_the_engine_within_a_second(house: House) -> None:
    for _ in range(3):
        stream = house.ask(LONG, max_tokens=400, stream=True)
        next(stream)
        wait_for(house.works, SOON)
        stream.close()
        wait_for(lambda: not house.works(), SOON)


@pytest.mark.model
def test_what_cannot_be_asked_is_refused_in_the_shape_of_openai(house: House) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        house.client.post("/chat/completions", body={"model": house.name, "messages": "no list"}, cast_to=object)
    assert 400 <= caught.value.status_code < 500
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["message"]
    assert body["type"]


@pytest.mark.model
def test_tokens_are_counted_or_that_is_refused_and_a_prompt_is_echoed_or_that_is(house: House) -> None:
    if house.case.engine in ("flow", "openai"):
        pytest.skip("a flow has no tokens; what somebody else's server does is not known")
    asked: dict[str, Any] = {"model": house.name, "prompt": "Once upon a time"}
    if not house.case.cuts:
        for path, body, field in [
            ("../tokenize", asked, "model"), ("completions", asked | {"echo": True}, "echo"),
            ("completions", asked | {"logprobs": 1}, "logprobs"),
        ]:  # fmt: skip
            with pytest.raises(openai.BadRequestError) as caught:
                house.client.post(path, body=body, cast_to=object)
            assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")
        return
    counted: Any = house.client.post("../tokenize", body=asked, cast_to=object)
    assert counted["count"] == len(counted["tokens"]) > 3
    told = house.client.completions.create(**asked, echo=True, logprobs=1, max_tokens=2, temperature=0)
    assert told.choices[0].text.startswith("Once upon a time")
    assert told.choices[0].logprobs


@pytest.mark.model
def test_an_adapter_is_loaded_while_the_engine_runs(house: House, tmp_path: Path) -> None:
    if not house.case.adapters:
        pytest.skip("this engine has no adapters of its own")
    plain = house.ask().choices[0].message.content
    before = house.ask(model=f"{house.name}:polite").choices[0].message.content
    running = house.replica.pid
    house.put(adapters={**house.properties["adapters"], "rude": str(put_adapter(tmp_path / "rude", 2))})
    after = house.ask(model=f"{house.name}:rude").choices[0].message.content
    assert len({plain, before, after}) == 3
    assert house.ask(model=f"{house.name}:polite").choices[0].message.content == before
    assert house.replica.pid == running
    house.put()


@pytest.mark.model
def test_nobody_but_the_gateway_reaches_the_engine(house: House) -> None:
    replica = house.replica
    if replica.socket:
        path = Path(replica.socket)
        private = not path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        assert private or not path.parent.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    else:
        assert got(replica, "/v1/models", key="")[0] == 401
        assert got(replica, "/v1/models", key="wrong")[0] == 401
    for pid in replicas.session(replica.pid):
        for each in psutil.Process(pid).net_connections("inet"):
            assert each.status != psutil.CONN_LISTEN or each.laddr.ip in ("127.0.0.1", "::1")


@pytest.mark.model
@pytest.mark.parametrize(
    "path", ["/pause", "/sleep", "/wake_up", "/metrics", "/v1/load_lora_adapter", "/update_weights", "/feedback"]
)
def test_what_an_engine_has_besides_is_not_there_through_the_gateway(house: House, path: str) -> None:
    url = house.gateway.base_url.removesuffix("/v1") + path
    answer = httpx.post(url, headers={"authorization": f"Bearer {house.gateway.token}"}, json={"model": house.name})
    assert answer.status_code in (404, 405)


@pytest.mark.model
def test_an_engine_killed_in_the_middle_of_an_answer_says_so_and_comes_back(house: House) -> None:
    stream = house.ask(LONG, max_tokens=400, stream=True)
    next(stream)
    before = house.replica
    processes = {*replicas.session(before.pid), *(each.pid for each in psutil.Process(before.pid).children(True))}
    for pid in (before.pid, *(processes if house.case.engine == "flow" else ())):  # a flow's server outlives its parent
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with pytest.raises((openai.APIError, httpx.HTTPError)):
        list(stream)
    FLOW_WORKS.unlink(missing_ok=True)  # a killed flow cannot tidy up
    # Nobody asks: the gateway itself brings it back.
    wait_for(lambda: house.health().get("state") == "ready" and not before.alive, 300)
    assert house.replica.pid != before.pid
    assert house.ask().choices[0].message.content
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in processes)


@pytest.mark.slow
@pytest.mark.model
def test_an_engine_that_is_to_stop_ends_its_answers_first(house: House) -> None:
    if house.case.engine == "openai":
        pytest.skip("somebody else's server is not stopped")
    stream = house.ask(LONG, max_tokens=80, stream=True)
    next(stream)
    replica = house.replica
    endpoints.put(house.workspace, house.name, traffic={"blue": 0})
    endpoints.remove_deployment(house.workspace, house.name, "blue")
    try:
        chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason in ("length", "stop")
        wait_for(lambda: not replica.alive, 60)
    finally:
        endpoints.put_deployment(
            house.workspace,
            house.name,
            "blue",
            engine=house.case.engine,
            model=house.case.model,
            properties=house.properties,
        )
        endpoints.put(house.workspace, house.name, traffic={"blue": 100})
    first_answer(house.client, house.name)
