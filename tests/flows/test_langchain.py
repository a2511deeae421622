"""LangChain Runnables as nodes: what they are given and give, what the trace tells, what a cassette keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import flows
from flows import check
from flows.connections import Connection
from flows.results import SpanRecord
from studiolo.pf_flow import Flow, FlowContext

pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")

if TYPE_CHECKING:
    from tests.flows.conftest import ModelServer

ASKING = """\
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI


def chain(connection):
    model = ChatOpenAI(model="small", base_url=connection.base_url, api_key=connection.api_key, max_retries=0)
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question} about {topic}")])
    return prompt | model | StrOutputParser()
"""
FLOW = """\
inputs: {{question: {{type: string, default: Why}}}}
outputs: {{said: {{type: string, reference: "${{ask.output}}"}}}}
nodes:
- name: ask
  type: langchain
  source: {{type: code, path: "{path}"}}
  {connection}
  inputs: {inputs}
"""
BOTH = '{question: "${inputs.question}", topic: water}'

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(
        code: str, path: str = "chain.py", connection: str = "", inputs: str = '{input: "${inputs.question}"}'
    ) -> Path:
        (tmp_path / "chain.py").write_text(code)
        said = f"connection: {connection}" if connection else "api: chat"
        (tmp_path / "flow.dag.yaml").write_text(FLOW.format(path=path, connection=said, inputs=inputs))
        return tmp_path

    return write


def theirs(server: ModelServer) -> dict[str, Connection]:
    configs = {"base_url": f"{server.url}/v1"}
    return {"theirs": Connection(name="theirs", type="open_ai", configs=configs, secrets={"api_key": "k-secret"})}


def run(folder: Path, connections: dict[str, Connection] | None = None, **options: Any) -> flows.FlowResult:
    conditions = flows.Conditions(home=folder, **options)
    return flows.test(flows.load(folder), {}, connections=connections or {}, conditions=conditions)


def walk(span: SpanRecord) -> list[SpanRecord]:
    return [span, *(each for child in span.spans for each in walk(child))]


def test_a_model_is_reached_over_the_nodes_connection_and_its_tokens_are_the_nodes(
    make: Make, modelling: ModelServer
) -> None:
    result = run(make(ASKING, connection="theirs", inputs=BOTH), theirs(modelling))
    assert (result.error, result.outputs) == (None, {"said": "Hello"})
    assert modelling.asked[0]["body"]["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why about water"},
    ]  # fmt: skip
    node = result.nodes[0]
    assert (node.tokens, node.model) == ((7, 2), "m-1")
    spans = {each.name: each for top in node.spans for each in walk(top)}
    assert spans["ChatOpenAI"].kind == "llm"
    assert spans["ChatOpenAI"].attributes["gen_ai.request.model"] == "small"
    assert spans["ChatOpenAI"].inputs[1] == {"role": "user", "content": "Why about water"}
    assert spans["ChatOpenAI"].output == ["Hello"]
    assert {"ask", "ChatPromptTemplate", "StrOutputParser"} <= spans.keys()
    assert "k-secret" not in repr(result)


def test_a_cassette_records_the_models_of_a_chain_and_replays_them(
    make: Make, modelling: ModelServer, tmp_path: Path
) -> None:
    folder = make(ASKING, connection="theirs", inputs=BOTH)
    tape = tmp_path / "tape.jsonl"
    assert run(folder, theirs(modelling), cassette=(tape, "record")).outputs == {"said": "Hello"}
    elsewhere = {"theirs": Connection(
        name="theirs", type="open_ai", configs={"base_url": "http://127.0.0.1:9/v1"}, secrets={"api_key": "other"},
    )}  # fmt: skip
    again = run(folder, elsewhere, cassette=(tape, "replay"))
    assert (again.error, again.outputs) == (None, {"said": "Hello"})
    assert len(modelling.asked) == 1
    assert "k-secret" not in tape.read_text()
    (folder / "chain.py").write_text(ASKING.replace("Be brief.", "Be long."))
    missed = run(folder, elsewhere, cassette=(tape, "replay"))
    assert "has no answer to this request" in (missed.error or "")
    assert "Be long." in (missed.error or "")


def test_a_variable_by_its_name_takes_the_one_input_itself(make: Make) -> None:
    code = (
        "from langchain_core.runnables import RunnableLambda\n"
        "shout = RunnableLambda(lambda text: text.upper())\n"
        "chain = RunnableLambda(lambda text: text)\n"
    )
    assert run(make(code, path="chain.py:shout")).outputs == {"said": "WHY"}


def test_documents_and_messages_leave_as_plain_data(make: Make) -> None:
    code = (
        "from langchain_core.documents import Document\n"
        "from langchain_core.messages import AIMessage\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "calls = [{'name': 'f', 'args': {}, 'id': '1', 'type': 'tool_call'}]\n"
        "made = {'found': [Document(page_content='a', metadata={'page': 3})], 'said': AIMessage('b'),\n"
        "        'called': AIMessage('', tool_calls=calls)}\n"
        "chain = RunnableLambda(lambda _: made)\n"
    )
    assert run(make(code)).outputs["said"] == {
        "found": [{"text": "a", "metadata": {"page": 3}}], "said": "b",
        "called": {"role": "assistant", "content": "",
                   "tool_calls": [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]},
    }  # fmt: skip


def test_tools_and_retrievers_are_told_as_such(make: Make) -> None:
    code = (
        "from langchain_core.documents import Document\n"
        "from langchain_core.retrievers import BaseRetriever\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "from langchain_core.tools import tool\n\n\n"
        "@tool\ndef count(text: str) -> int:\n    '''Count letters.'''\n    return len(text)\n\n\n"
        "class Shelf(BaseRetriever):\n"
        "    def _get_relevant_documents(self, query, *, run_manager):\n"
        "        return [Document(page_content=query)]\n\n\n"
        "chain = Shelf() | RunnableLambda(lambda found: {'text': found[0].page_content}) | count\n"
    )
    result = run(make(code))
    assert result.outputs == {"said": 3}
    kinds = {each.name: each.kind for top in result.nodes[0].spans for each in walk(top)}
    assert (kinds["Shelf"], kinds["count"]) == ("retrieval", "tool")


def test_an_answer_that_is_streamed_comes_in_pieces_and_is_told_whole(make: Make) -> None:
    code = (
        "from langchain_core.language_models import GenericFakeChatModel\n"
        "from langchain_core.messages import AIMessage\n\n\n"
        "def chain():\n    return GenericFakeChatModel(messages=iter([AIMessage('one two three')]))\n"
    )
    flow = Flow(make(code) / "flow.dag.yaml")
    flow.context = FlowContext(streaming=True)
    assert list(flow()["said"]) == ["one", " ", "two", " ", "three"]
    result = run(flow.path.parent)
    assert result.outputs == {"said": "one two three"}
    (span,) = [each for top in result.nodes[0].spans for each in walk(top) if each.kind == "llm"]
    assert span.output == ["one two three"]


@pytest.mark.parametrize(
    ("code", "path", "said"),
    [("chian = 3\n", "chain.py", "no 'chain' in chain.py"), ("chain = 3\n", "chain.py:mine", "no 'mine'"),
     ("chain = (\n", "chain.py", "not Python")],
)  # fmt: skip
def test_validation_finds_a_file_without_its_chain(make: Make, code: str, path: str, said: str) -> None:
    (found,) = [each for each in check.problems(make(code, path=path)) if each.severity == "error"]
    assert said in found.message
    assert found.at is not None
    assert found.at.line


@pytest.mark.parametrize(
    "code", ["from somewhere import *\n", "def chain(): ...\n", "from here import chain\n", "chain: int = 3\n"]
)
def test_validation_trusts_names_that_the_file_gives(make: Make, code: str) -> None:
    assert not [each for each in check.problems(make(code)) if each.severity == "error"]


def test_what_goes_wrong_inside_fails_the_node_and_is_told_where(make: Make) -> None:
    code = (
        "from langchain_core.runnables import RunnableLambda\n\n\n"
        "def broken(text):\n    raise ValueError('not today')\n\n\nchain = RunnableLambda(broken)\n"
    )
    result = run(make(code))
    assert "not today" in (result.error or "")
    assert "chain.py:5" in (result.error or "")
    assert "not today" in (result.nodes[0].spans[0].error or "")


@pytest.mark.parametrize(
    ("code", "path", "connection", "said"),
    [
        ("chain = 3\n", "chain.py", "", "is a int, not a Runnable"),
        ("chian = 3\n", "chain.py", "", "did you mean 'chian'"),
        ("from langchain_core.runnables import RunnablePassthrough\nmine = RunnablePassthrough()\n", "chain.py", "",
         "chain.py:mine"),
        (ASKING, "chain.py", "", "needs `connection`"),
    ],
)  # fmt: skip
def test_a_file_without_a_runnable_is_refused_with_a_hint(
    make: Make, code: str, path: str, connection: str, said: str
) -> None:
    from workspace.errors import Invalid

    with pytest.raises(Invalid) as caught:
        run(make(code, path=path, connection=connection))
    assert said in f"{caught.value} {caught.value.hint}"
