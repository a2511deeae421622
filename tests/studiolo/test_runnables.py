"""A flow stands in a LangChain chain: inputs by name or alone, outputs by name, streams, callbacks, failures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

import studiolo
from workspace.errors import Invalid, NotFound

FLOW = """\
inputs:
  word: {type: string, description: what is said}
  times: {type: int, default: 2}
outputs:
  said: {type: string, reference: "${say.output}"}
  length: {type: int, reference: "${count.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {word: "${inputs.word}", times: "${inputs.times}"}
- name: count
  type: python
  source: {type: code, path: count.py}
  inputs: {word: "${inputs.word}"}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "flow.dag.yaml").write_text(FLOW)
    (tmp_path / "say.py").write_text(
        "from promptflow.core import tool\n\n\n@tool\ndef say(word: str, times: int):\n"
        "    if word == 'bad':\n        raise ValueError('not this word')\n"
        "    for _ in range(times):\n        yield word\n"
    )
    (tmp_path / "count.py").write_text(
        "from promptflow.core import tool\n\n\n@tool\ndef count(word: str):\n    return len(word)\n"
    )
    return tmp_path


def test_a_flow_takes_inputs_by_name_or_its_one_needed_input(flow: Path) -> None:
    runnable = studiolo.as_runnable(flow)
    assert runnable.invoke({"word": "ab", "times": 3}) == {"said": "ababab", "length": 2}
    assert runnable.invoke("abc") == {"said": "abcabc", "length": 3}
    assert asyncio.run(runnable.ainvoke("x")) == {"said": "xx", "length": 1}
    assert [each["length"] for each in runnable.batch(["a", "bb", "ccc"])] == [1, 2, 3]


def test_it_stands_in_a_chain_and_tells_langchain_of_itself(flow: Path) -> None:
    chain = RunnableLambda(str.upper) | studiolo.as_runnable(flow) | RunnableLambda(lambda made: made["said"])
    told = RunCollectorCallbackHandler()
    assert chain.invoke("ab", config={"callbacks": [told]}) == "ABAB"
    names = [run.name for run in told.traced_runs[0].child_runs]
    assert studiolo.as_runnable(flow).name in names


def test_a_stream_gives_pieces_that_add_up_to_the_whole(flow: Path) -> None:
    pieces = list(studiolo.as_runnable(flow).stream({"word": "ab", "times": 3}))
    assert [piece["said"] for piece in pieces if "said" in piece] == ["ab", "ab", "ab"]
    whole: Any = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    assert whole == {"said": "ababab", "length": 2}


def test_it_says_what_it_takes_and_gives(flow: Path) -> None:
    runnable = studiolo.as_runnable(flow)
    assert runnable.get_input_jsonschema() == {
        "title": flow.name, "type": "object", "required": ["word"],
        "properties": {"word": {"type": "string", "description": "what is said"},
                       "times": {"type": "integer", "default": 2}},
    }  # fmt: skip
    assert runnable.get_output_jsonschema()["properties"]["length"] == {"type": "integer"}


def test_a_node_that_fails_raises_its_reason(flow: Path) -> None:
    with pytest.raises(Exception, match="not this word"):
        studiolo.as_runnable(flow).invoke("bad")


def test_what_is_no_flow_and_what_is_unclear_is_refused(flow: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        studiolo.as_runnable(tmp_path / "absent")
    text = (flow / "flow.dag.yaml").read_text()
    (flow / "flow.dag.yaml").write_text(text.replace("type: int, default: 2", "type: int"))
    with pytest.raises(Invalid, match="several inputs"):
        studiolo.as_runnable(flow).invoke("ab")
