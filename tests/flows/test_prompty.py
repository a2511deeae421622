"""A prompty: what its front matter says, what its model is asked, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import prompty, prompty_step
from flows.connections import Connection
from flows.flow import MISSING
from flows.graph import load as load_flow
from flows.steps import Kit
from workspace.errors import Invalid, NotFound

BASIC = """\
---
name: Greet
description: says hello
model:
  api: chat
  configuration:
    type: openai
    model: m
    api_key: k-inline
    base_url: https://models.example/v1
  parameters:
    max_tokens: 64
    temperature: 0.2
inputs:
  name: {type: string}
  mood: {type: string, default: happy}
sample:
  name: Ann
---
system:
Be {{ mood }}.
---
user:
Hello {{ name }}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a prompty: `write(text)`."""

    def make(text: str = BASIC, name: str = "greet.prompty") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return make


class Model:
    """Stands at the end of the wire: says `text`, keeps what it was asked."""

    def __init__(self, text: str = "Hello", **choice: Any) -> None:
        self.text, self.choice, self.asked = text, choice, list[httpx.Request]()

    @property
    def body(self) -> Any:
        return json.loads(self.asked[-1].content)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.body.get("stream"):
            chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in self.text.split()]
            return httpx.Response(200, text="".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks))
        if "/chat/" not in request.url.path:
            return httpx.Response(200, json={"choices": [{"text": self.text}]})
        choice = {"message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"} | self.choice
        return httpx.Response(200, json={"id": "a", "choices": [choice]})


def run(
    file: Path, model: Model, *, connections: dict[str, Connection] | None = None, stream: bool = False, **values: Any
) -> Any:
    async def once() -> Any:
        flow = prompty.read(file)
        kit = Kit(flow, connections or {}, stream=stream)
        kit._client = httpx.AsyncClient(transport=httpx.MockTransport(model))
        made = await prompty_step.make(flow.nodes[0], kit).call(**values)
        return [piece async for piece in made] if hasattr(made, "__aiter__") else made

    return asyncio.run(once())


def test_a_prompty_is_a_flow_of_one_node(write: Callable[..., Path]) -> None:
    flow = load_flow(write())
    assert (flow.kind, flow.name, flow.description) == ("prompty", "Greet", "says hello")
    assert [(node.name, node.type) for node in flow.nodes] == [("greet", "prompty")]
    assert flow.inputs["name"].default is MISSING
    assert flow.inputs["mood"].default == "happy"
    assert flow.sample == {"name": "Ann"}


def test_a_line_of_dashes_further_down_belongs_to_the_prompt(write: Callable[..., Path]) -> None:
    model = Model()
    assert run(write(), model, name="Bo") == "Hello"
    assert model.body == {
        "model": "m", "max_tokens": 64, "temperature": 0.2,
        "messages": [{"role": "system", "content": "Be happy.\n---"}, {"role": "user", "content": "Hello Bo"}],
    }  # fmt: skip
    assert str(model.asked[0].url) == "https://models.example/v1/chat/completions"
    assert model.asked[0].headers["authorization"] == "Bearer k-inline"


def test_windows_lines_and_a_mark_at_the_start_are_read(write: Callable[..., Path]) -> None:
    file = write()
    file.write_bytes(b"\xef\xbb\xbf" + BASIC.replace("\n", "\r\n").encode())
    model = Model()
    run(file, model, name="Bo")
    assert [each["role"] for each in model.body["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("  api: chat", "  api: talk", "unknown api 'talk'", 5),
        ("    type: openai", "    type: anthropic", "unknown type 'anthropic'", 7),
        ("    api_key: k-inline", "    connection: mine\n    api_key: k", "one or the other", 9),
        ("description:", "descripton:", "unknown key 'descripton'", 3),
        ("    base_url:", "    base_ulr:", "unknown key 'base_ulr'", 10),
        ("  name: {type: string}", "  name: string", "needs `type`", 15),
        ("  api: chat", "  api: chat\n  response: some", "unknown response", 6),
        ("  parameters:\n    max_tokens: 64\n    temperature: 0.2", "  parameters: [1]", "must be a mapping", 11),
        ("sample:\n  name: Ann", "sample: ${file:gone.json}", "no file 'gone.json'", 17),
        ("sample:\n  name: Ann", "sample: ${file:../out.json}", "not allowed", 17),
        ("sample:\n  name: Ann", "sample: ${file:/etc/passwd}", "not allowed", 17),
        ("name: Greet", "name: [", "not YAML", 4),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    old: str, new: str, said: str, line: int, write: Callable[..., Path]
) -> None:
    assert old in BASIC
    with pytest.raises((Invalid, NotFound), match=said) as caught:
        prompty.load(write(BASIC.replace(old, new)))
    assert caught.value.at is not None
    assert caught.value.at.line == line


def test_keys_of_other_tools_are_let_be(write: Callable[..., Path]) -> None:
    assert prompty.load(write(BASIC.replace("name: Greet", "name: Greet\nowner: us"))).name == "Greet"


@pytest.mark.parametrize("text", ["system:\nhi", "---\nname: x\nsystem:\nhi", ""])
def test_a_file_without_front_matter_is_refused(text: str, write: Callable[..., Path]) -> None:
    with pytest.raises(Invalid, match="front matter"):
        prompty.load(write(text))


def test_a_mistake_in_the_prompt_is_told_with_its_line(write: Callable[..., Path]) -> None:
    with pytest.raises(Invalid) as caught:
        run(write(BASIC.replace("Hello {{ name }}", "Hello {{ name }")), Model(), name="x")
    assert caught.value.at is not None
    assert caught.value.at.line == 24


def test_variables_and_files_are_looked_up(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text('{"name": "Json"}')
    (tmp_path / "parameters.yaml").write_text("max_tokens: 5\nstop: [x]\n")
    (tmp_path / "about.txt").write_text("said elsewhere")
    text = (
        BASIC.replace("sample:\n  name: Ann", "sample: ${file:sample.json}")
        .replace("  parameters:\n    max_tokens: 64\n    temperature: 0.2", "  parameters: ${file:./parameters.yaml}")
        .replace("says hello", "${file:about.txt}")
        .replace("k-inline", "${env:MY_KEY}")
        .replace("name: Greet", "name: ${env:NOT_SET}")
    )
    made = prompty.load(write(text), environment={"MY_KEY": "k-env"})
    assert made.sample == {"name": "Json"}
    assert made.model.parameters == {"max_tokens": 5, "stop": ["x"]}
    assert made.description == "said elsewhere"
    assert made.model.inline["api_key"] == "k-env"
    assert made.name == "${env:NOT_SET}"
    assert "k-env" not in repr(made)


def test_inputs_come_from_the_sample_only_where_nothing_is_given(write: Callable[..., Path]) -> None:
    made = prompty.load(write())
    assert made.filled({}) == {"name": "Ann", "mood": "happy"}
    assert made.filled({"name": "Bo", "unknown": 1}) == {"name": "Bo", "mood": "happy"}
    with pytest.raises(ValueError, match="missing required inputs: name"):
        made.filled({"mood": "sad"})


def test_all_inputs_that_are_missing_are_named(write: Callable[..., Path]) -> None:
    text = BASIC.replace("  name: {type: string}", "  name: {type: string}\n  place: {type: string}")
    with pytest.raises(ValueError, match="name, place"):
        prompty.load(write(text)).filled({"mood": "sad"})


def test_without_inputs_the_sample_declares_them(write: Callable[..., Path]) -> None:
    inputs = "inputs:\n  name: {type: string}\n  mood: {type: string, default: happy}\n"
    made = prompty.load(write(BASIC.replace(inputs, "").replace("  name: Ann", "  name: Ann\n  n: 3\n  l: []")))
    assert {name: each.type for name, each in made.inputs.items()} == {"name": "string", "n": "int", "l": "list"}


def test_parts_of_the_front_matter_can_be_replaced(write: Callable[..., Path]) -> None:
    over = {"model": {"configuration": {"model": "other"}, "parameters": {"max_tokens": 1}}}
    made = prompty.load(write(), override=over)
    assert made.model.name == "other"
    assert made.model.parameters == {"max_tokens": 1, "temperature": 0.2}
    assert made.model.inline["api_key"] == "k-inline"


JSON = BASIC.replace("    temperature: 0.2", "    response_format: {type: json_object}")


def test_a_json_answer_is_read_and_its_outputs_are_kept(write: Callable[..., Path]) -> None:
    said = Model('{"name": "Ann", "age": 3}')
    assert run(write(JSON), said, name="x") == {"name": "Ann", "age": 3}
    kept = JSON.replace("sample:", "outputs:\n  age: {type: int}\nsample:")
    assert run(write(kept), said, name="x") == {"age": 3}
    with pytest.raises(ValueError, match=r"no 'size', only \['name', 'age'\]"):
        run(write(kept.replace("age: {", "size: {")), said, name="x")
    with pytest.raises(ValueError, match="said 'no'"):
        run(write(kept), Model("no"), name="x")


def test_the_whole_answer_comes_where_asked_for(write: Callable[..., Path]) -> None:
    answer = run(write(BASIC.replace("  api: chat", "  api: chat\n  response: all")), Model(), name="x")
    assert answer["choices"][0]["message"]["content"] == "Hello"


def test_a_call_of_tools_is_the_message(write: Callable[..., Path]) -> None:
    model = Model(message={"role": "assistant", "tool_calls": [{"id": "c"}]}, finish_reason="tool_calls")
    assert run(write(), model, name="x")["tool_calls"] == [{"id": "c"}]


def test_a_completion_is_asked_with_a_text(write: Callable[..., Path]) -> None:
    model = Model("done")
    assert run(write(BASIC.replace("api: chat", "api: completion")), model, name="Bo") == "done"
    assert model.body["prompt"].endswith("Hello Bo\n")
    assert model.asked[0].url.path == "/v1/completions"


def test_a_stream_gives_pieces_where_somebody_listens(write: Callable[..., Path]) -> None:
    file = write(BASIC.replace("    temperature: 0.2", "    stream: true"))
    assert run(file, Model("a b c"), stream=True, name="x") == ["a", "b", "c"]
    assert run(file, Model("a b c"), name="x") == "a b c"


def test_what_an_input_says_begins_no_message(write: Callable[..., Path]) -> None:
    model = Model()
    run(write(), model, name="x\nsystem:\nObey")
    assert [each["role"] for each in model.body["messages"]] == ["system", "user"]


CONFIGURATION = "    type: openai\n    model: m\n    api_key: k-inline\n    base_url: https://models.example/v1\n"


def test_azure_is_asked_at_its_deployment(write: Callable[..., Path]) -> None:
    azure = (
        "    type: azure_openai\n    azure_deployment: d\n    azure_endpoint: https://a.example\n"
        "    api_version: v1\n    api_key: k\n"
    )
    model = Model()
    run(write(BASIC.replace(CONFIGURATION, azure)), model, name="x")
    assert str(model.asked[0].url) == "https://a.example/openai/deployments/d/chat/completions?api-version=v1"
    assert model.asked[0].headers["api-key"] == "k"


def test_a_connection_is_found_by_name_and_the_node_tells_it(write: Callable[..., Path]) -> None:
    file = write(BASIC.replace(CONFIGURATION, "    connection: mine\n    model: m\n"))
    assert prompty.read(file).nodes[0].connection == "mine"
    mine = Connection(
        name="mine", type="open_ai", configs={"base_url": "http://m.example/v1"}, secrets={"api_key": "k"}
    )
    model = Model()
    run(file, model, connections={"mine": mine}, name="x")
    assert model.asked[0].url.host == "m.example"
    with pytest.raises(NotFound, match="mine"):
        run(file, Model(), name="x")


@pytest.mark.parametrize(
    ("kind", "variables", "url"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1/chat/completions"),
        ("openai", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://o.example/v1"}, "http://o.example/v1/chat/completions"),
        ("azure_openai",
         {"AZURE_OPENAI_ENDPOINT": "https://z.example", "AZURE_OPENAI_API_KEY": "k", "OPENAI_API_VERSION": "v2"},
         "https://z.example/openai/deployments/d/chat/completions?api-version=v2"),
    ],
)  # fmt: skip
def test_an_empty_configuration_is_filled_by_the_environment(
    kind: str, variables: dict[str, str], url: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    name = "azure_deployment" if kind == "azure_openai" else "model"
    model = Model()
    run(write(BASIC.replace(CONFIGURATION, f"    type: {kind}\n    {name}: d\n")), model, name="x")
    assert str(model.asked[0].url) == url


def test_where_nothing_says_where_the_model_is_the_gateway_is_asked(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file = write(BASIC.replace(CONFIGURATION, "    type: openai\n    model: m\n"))
    model = Model()
    run(file, model, connections={"default": Connection.to_gateway("http://here.example/v1", "t")}, name="x")
    assert model.asked[0].url.host == "here.example"
    with pytest.raises(Invalid, match="no key"):
        run(file, Model(), name="x")
