"""Flex flows: a function or a class is the whole flow; what it takes is read without running it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import flex, flex_step
from flows.batch import Batch, Finished
from flows.connections import Connection
from flows.flow import MISSING
from flows.promptflow import names as promptflow_names
from flows.steps import Kit
from workspace.errors import Conflict, Invalid, NotFound

FUNCTION = """\
from typing import TypedDict


class Answer(TypedDict):
    text: str
    score: float


def answer(question: str, top: int = 3, *, tags: list[str] | None = None, extra=None) -> Answer:
    return {"text": question * top, "score": 0.5}
"""

CLASS = """\
from dataclasses import dataclass


@dataclass
class Judged:
    right: bool


class Judge:
    made = 0

    def __init__(self, strict: bool, limit: float = 0.5) -> None:
        Judge.made += 1
        self.strict, self.limit = strict, limit

    def __call__(self, score: float) -> Judged:
        return Judged(score > self.limit and self.strict is True)

    def __aggregate__(self, results: list) -> dict:
        return {"accuracy": sum(result.right for result in results) / len(results), "made": Judge.made, "note": "text"}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a flex flow: `write(code, yaml)`; the module is called main."""

    def make(code: str, yaml: str = "entry: main:answer\n", **modules: str) -> Path:
        folder = tmp_path / "my-flex"
        folder.mkdir(exist_ok=True)
        for name, text in {"main": code, **modules}.items():
            (folder / f"{name}.py").write_text(text)
        (folder / "flow.flex.yaml").write_text(yaml)
        return folder

    return make


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Make a flow's entry ready in this process: `step(folder, init={…})`."""
    before = set(sys.modules)

    def make(folder: Path, *, connections: dict[str, Connection] | None = None, **init: Any) -> Any:
        flow = flows.load(folder)
        monkeypatch.syspath_prepend(str(flow.folder))
        promptflow_names.install()
        return flex_step.make(flow.nodes[0], Kit(flow, connections or {}, init=init))

    yield make
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).find("my-flex") > 0:
            del sys.modules[name]


def test_what_a_function_takes_is_read_from_its_source(write: Callable[..., Path]) -> None:
    flow = flows.load(write("raise RuntimeError('this code must not run')\n" + FUNCTION))
    assert (flow.kind, flow.name, flow.entry) == ("flex", "my-flex", "main:answer")
    assert [(node.name, node.type, node.source) for node in flow.nodes] == [("answer", "flex", "main.py")]
    assert {name: (each.type, each.default) for name, each in flow.inputs.items()} == {
        "question": ("string", MISSING), "top": ("int", 3), "tags": ("list", None), "extra": ("object", None),
    }  # fmt: skip
    assert list(flow.outputs) == ["output"]


def test_what_a_class_is_made_with_is_read_too(write: Callable[..., Path]) -> None:
    flow = flows.load(write(CLASS, "entry: main:Judge\n"))
    assert {name: (each.type, each.default) for name, each in flow.init.items()} == {
        "strict": ("bool", MISSING), "limit": ("double", 0.5),
    }  # fmt: skip
    assert list(flow.inputs) == ["score"]


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("int", "int"), ("float", "double"), ("bool", "bool"), ("str", "string"), ("list", "list"), ("dict", "object"),
        ("List[int]", "list"), ("dict[str, int]", "object"), ("Optional[int]", "int"), ("int | None", "int"),
        ("Union[int, str]", "object"), ("'str'", "string"), ("typing.Any", "object"), ("Literal['a']", "object"),
        ("Row", "object"), ("Point", "object"), ("Sub", "object"), ("Elsewhere", "object"), ("Fraction", "object"),
    ],
)  # fmt: skip
def test_annotations_become_types_of_flows(annotation: str, kind: str, write: Callable[..., Path]) -> None:
    code = (
        "import typing\nfrom dataclasses import dataclass\n"
        "from typing import List, Literal, Optional, TypedDict, Union\n"
        "from fractions import Fraction\nfrom other import Elsewhere\n\n\n"
        "class Row(TypedDict):\n    a: int\n\n\n@dataclass(frozen=True)\nclass Point:\n    x: int\n\n\n"
        f"class Sub(Row):\n    b: str\n\n\ndef answer(x: {annotation}) -> str:\n    return ''\n"
    )
    other = "from typing import TypedDict\nclass Elsewhere(TypedDict):\n    a: int\n"
    assert flows.load(write(code, other=other)).inputs["x"].type == kind


@pytest.mark.parametrize("annotation", ["Thing", "set", "tuple[int, int]", "bytes", "list[int] | Thing"])
def test_a_type_that_no_flow_can_give_is_refused(annotation: str, write: Callable[..., Path]) -> None:
    code = f"class Thing:\n    pass\n\n\ndef answer(x: {annotation}) -> str:\n    return ''\n"
    with pytest.raises(Invalid, match="a flow cannot give") as caught:
        flows.load(write(code))
    assert caught.value.at is not None
    assert (caught.value.at.path.name, caught.value.at.line) == ("main.py", 5)


def test_an_entry_may_be_imported_inherited_and_in_a_package(write: Callable[..., Path]) -> None:
    folder = write("from parts.base import Base\n\n\nclass Mine(Base):\n    pass\n", "entry: main:Mine\n")
    (folder / "parts").mkdir()
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "base.py").write_text(
        "from .deep import Deep\n\n\nclass Base(Deep):\n    def __init__(self, size: int):\n        ...\n"
    )
    (folder / "parts" / "deep.py").write_text("class Deep:\n    def __call__(self, q: str):\n        return q\n")
    flow = flows.load(folder)
    assert flow.inputs["q"].type == "string"
    assert flow.init["size"].type == "int"


YAML = """\
entry: main:answer
inputs:
  question:
    type: string
    default: why
outputs:
  text:
    type: string
environment_variables:
  A: {b: 1}
sample:
  inputs:
    question: ${file:question.txt}
"""


def test_the_file_goes_before_the_source_and_does_not_contradict_it(write: Callable[..., Path]) -> None:
    folder = write(FUNCTION, YAML)
    (folder / "question.txt").write_text("from a file")
    flow = flows.load(folder)
    assert flow.inputs["question"].default == "why"
    assert flow.inputs["top"].default == 3
    assert flow.environment_variables == {"A": '{"b": 1}'}
    assert flow.sample == {"question": "from a file"}


@pytest.mark.parametrize(
    ("old", "new", "said", "line"),
    [
        ("main:answer", "main", "module:name", 1),
        ("main:answer", "main:answr", "has no 'answr'", 1),
        ("    type: string\n    default: why", "    type: int\n    default: why", "is int here and string", 4),
        ("    default: why", "    defalt: why", "unknown key 'defalt'", 5),
        ("question:\n    type", "qestion:\n    type", "does not take 'qestion'", 3),
        ("  text:", "  txt:", "gives no 'txt'", 7),
        ("    type: string\nenv", "    type: int\nenv", "is int here and string", 8),
        ("    default: why", "    default: why\ninit:\n  a: {type: int}", "the entry is a function", 6),
        ("    type: string\n    default: why", "    type: strng", "unknown type 'strng'", 4),
        ("environment_variables", "enviroment_variables", "unknown key", 9),
        ("  inputs:\n    question: ${", "  input:\n    question: ${", "unknown key 'input'", 12),
        ("${file:question.txt}", "${file:../x.txt}", "not allowed", 11),
        ("outputs:", "code: nowhere\noutputs:", "no folder", 6),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    old: str, new: str, said: str, line: int, write: Callable[..., Path]
) -> None:
    assert old in YAML
    folder = write(FUNCTION, YAML.replace(old, new))
    (folder / "question.txt").write_text("x")
    with pytest.raises(Invalid, match=said) as caught:
        flex.read(folder / "flow.flex.yaml")
    assert caught.value.at is not None
    assert caught.value.at.line == line


@pytest.mark.parametrize(
    ("code", "yaml", "said"),
    [
        ("x = 1\n", "entry: gone.module:answer\n", "no module 'gone.module'"),
        ("class answer:\n    pass\n", "entry: main:answer\n", "no `__call__`"),
        ("class A(B):\n    pass\n\n\nclass B(A):\n    pass\n\n\nanswer = A\n", "entry: main:A\n", "in a circle"),
        ("def answer(:\n", "entry: main:answer\n", "not Python"),
        (CLASS.replace("results: list)", "results: list, more: list)"), "entry: main:Judge\n", "exactly one parameter"),
    ],
)
def test_an_entry_that_cannot_be_one_is_refused(code: str, yaml: str, said: str, write: Callable[..., Path]) -> None:
    with pytest.raises((Invalid, NotFound), match=said):
        flows.load(write(code, yaml))


def test_an_entry_made_by_an_expression_is_left_to_the_run(
    write: Callable[..., Path], step: Callable[..., Any]
) -> None:
    folder = write(
        "def made(x: int) -> int:\n    return x + 1\n\n\nanswer = made\n",
        "entry: main:answer\ninputs:\n  x: {type: int}\n",
    )
    assert step(folder).call(x=1) == 2


def test_a_function_runs_in_the_flow_and_its_mapping_is_the_outputs(write: Callable[..., Path]) -> None:
    result = flows.test(flows.load(write(FUNCTION)), {"question": "ab"}, connections={})
    assert result.outputs == {"text": "ababab", "score": 0.5}


def test_what_is_no_mapping_is_called_output(write: Callable[..., Path]) -> None:
    code = "async def answer(n: int):\n    for i in range(n):\n        yield str(i)\n"
    assert flows.test(flows.load(write(code)), {"n": 3}, connections={}).outputs == {"output": "012"}


def test_a_default_that_only_the_code_knows_is_used(write: Callable[..., Path], step: Callable[..., Any]) -> None:
    made = step(write("import os\n\n\ndef answer(q: str, sep: str = os.sep) -> str:\n    return q + sep\n"))
    assert made.call(q="a", sep=None) == "a/"


@pytest.mark.parametrize(
    "code",
    [
        "def answer(q: str):\n    return {'q': q, 'all': (str(i) for i in range(3))}\n",
        "async def answer(q: str):\n    return {'q': q, 'all': (str(i) for i in range(3))}\n",
    ],
)
def test_generators_within_the_outputs_are_read_to_their_end(
    code: str, write: Callable[..., Path], step: Callable[..., Any]
) -> None:
    made = step(write(code))
    result = made.call(q="a")
    assert (asyncio.run(result) if made.is_async else result) == {"q": "a", "all": "012"}


def test_a_class_is_made_once_and_sums_up_its_lines(write: Callable[..., Path], step: Callable[..., Any]) -> None:
    made = step(write(CLASS, "entry: main:Judge\n"), strict="true")
    lines = [made.call(score=score) for score in (0.2, 0.9)]
    assert [line.right for line in lines] == [False, True]
    promptflow_names.METRICS.clear()
    metrics = made.aggregate([{"right": line.right} for line in lines])
    assert metrics == {"accuracy": 0.5, "made": 1, "note": "text"}
    assert promptflow_names.METRICS == {"accuracy": 0.5, "made": 1}


def test_a_run_has_the_metrics_of_its_class(write: Callable[..., Path], workspace: Any, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"score": score}) + "\n" for score in (0.1, 0.6, 0.7, 0.8)))
    flow = flows.load(write(CLASS, "entry: main:Judge\nsample: {init: {strict: true}}\n"))
    *_, finished = flows.run(workspace, flow, Batch(data=data, connections={}, name="judged"))
    assert isinstance(finished, Finished)
    assert (finished.metrics["accuracy"], finished.completed, finished.problems) == (0.75, 4, ())


def test_results_that_are_no_mappings_come_to_the_sum_as_they_were(
    write: Callable[..., Path], step: Callable[..., Any]
) -> None:
    code = (
        "class Count:\n    def __call__(self, q: str) -> str:\n        return q\n\n"
        "    async def __aggregate__(self, results):\n        return {'letters': len(''.join(results))}\n"
    )
    assert step(write(code, "entry: main:Count\n")).aggregate([{"output": "ab"}, {"output": "c"}]) == {"letters": 3}


@pytest.mark.parametrize(
    ("init", "said"),
    [({}, "needs strict"), ({"strict": True, "limt": 1}, "not made with 'limt'"), ({"strict": "perhaps"}, "no bool")],
)
def test_a_class_that_cannot_be_made_says_why(
    init: dict[str, Any], said: str, write: Callable[..., Path], step: Callable[..., Any]
) -> None:
    with pytest.raises((Invalid, ValueError), match=said):
        step(write(CLASS, "entry: main:Judge\n"), **init)


MODELS = """\
from promptflow.connections import AzureOpenAIConnection
from promptflow.core import AzureOpenAIModelConfiguration, OpenAIModelConfiguration


class Ask:
    def __init__(self, connection: AzureOpenAIConnection, model: OpenAIModelConfiguration,
                 other: AzureOpenAIModelConfiguration = None) -> None:
        self.connection, self.model, self.other = connection, model, other

    def __call__(self) -> dict:
        return {"base": self.connection.api_base, "model": self.model.model, "key": self.model.api_key,
                "other": self.other and (self.other.azure_deployment, self.other.azure_endpoint)}
"""


def test_connections_and_models_are_given_as_flow_code_expects_them(
    write: Callable[..., Path], step: Callable[..., Any]
) -> None:
    azure = Connection(
        name="az",
        type="azure_open_ai",
        configs={"api_base": "https://a.example", "api_version": "v"},
        secrets={"api_key": "k"},
    )
    folder = write(MODELS, "entry: main:Ask\n")
    assert {name: each.type for name, each in flows.load(folder).init.items()} == {
        "connection": "AzureOpenAIConnection", "model": "OpenAIModelConfiguration",
        "other": "AzureOpenAIModelConfiguration",
    }  # fmt: skip
    made = step(
        folder, connections={"az": azure}, connection="az", model='{"model": "m", "api_key": "k-1"}',
        other={"azure_deployment": "d", "connection": "az"},
    )  # fmt: skip
    assert made.call() == {"base": "https://a.example", "model": "m", "key": "k-1", "other": ("d", "https://a.example")}


def test_a_module_of_the_flow_may_be_called_like_one_of_ours(write: Callable[..., Path]) -> None:
    folder = write("", "entry: workspace:answer\n", workspace="def answer(q: str) -> str:\n    return q + '!'\n")
    assert flows.test(flows.load(folder), {"q": "hi"}, connections={}).outputs == {"output": "hi!"}


def test_code_may_lie_in_another_folder(write: Callable[..., Path]) -> None:
    folder = write("", "entry: inner:answer\ncode: src\n")
    (folder / "src").mkdir()
    (folder / "src" / "inner.py").write_text("def answer(q: str) -> str:\n    return open('note.txt').read() + q\n")
    (folder / "src" / "note.txt").write_text("noted ")
    assert flows.test(flows.load(folder), {"q": "hi"}, connections={}).outputs == {"output": "noted hi"}


def test_an_entry_on_the_command_line_writes_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def run(q: str) -> str:\n    return q\n\n\ndef other() -> str:\n    return ''\n")
    flow = flex.from_entry(tmp_path, "mine:run")
    assert (tmp_path / "flow.flex.yaml").read_text() == "entry: mine:run\n"
    assert list(flow.inputs) == ["q"]
    assert flex.from_entry(tmp_path, "mine:run").entry == "mine:run"
    with pytest.raises(Conflict):
        flex.from_entry(tmp_path, "mine:other")


@pytest.mark.parametrize("entry", ["mine", "mine:", "../mine:run", "mine:gone"])
def test_no_file_is_written_for_an_entry_that_is_none(entry: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def run(q: str) -> str:\n    return q\n")
    with pytest.raises((Invalid, NotFound)):
        flex.from_entry(tmp_path, entry)
    assert not (tmp_path / "flow.flex.yaml").exists()
