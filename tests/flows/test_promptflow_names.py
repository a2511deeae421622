"""The names that flow code imports from `promptflow`: present, light, and out of the way of the real ones."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import spans
from flows.promptflow import names as promptflow_names
from flows.promptflow.tools import DynamicList, GeneratedBy, InputSetting, tool
from flows.promptflow.trace import ThreadPoolExecutorWithContext, trace
from flows.python_tools import MARK

USED = """
from promptflow import tool, log_metric, ToolProvider
from promptflow.core import tool, log_metric, ToolProvider, AzureOpenAIModelConfiguration, OpenAIModelConfiguration
from promptflow.tracing import trace, start_trace, ThreadPoolExecutorWithContext
from promptflow.connections import AzureOpenAIConnection, OpenAIConnection, CustomConnection, SerpConnection
from promptflow.connections import CustomStrongTypeConnection, ServerlessConnection, CognitiveSearchConnection
from promptflow.connections import AzureContentSafetyConnection, FormRecognizerConnection, AzureAIServicesConnection
from promptflow.core._connection import _Connection, QdrantConnection, WeaviateConnection
from promptflow.contracts.types import Secret, FilePath, PromptTemplate, AssistantDefinition
from promptflow._core.tool import tool, InputSetting, DynamicList, GeneratedBy, ToolProvider, ToolType
from promptflow.exceptions import UserErrorException, SystemErrorException, ValidationException, PromptflowException
from promptflow.exceptions import ErrorTarget, ErrorCategory
from promptflow.tools import AzureOpenAI, OpenAI
from promptflow.tools.aoai import chat, completion
from promptflow.tools.openai import chat, completion
from promptflow.tools.embedding import embedding
from promptflow.tools.common import parse_chat, render_jinja_template
"""
INSTALL = "from flows.promptflow import names; names.install()\n"


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    extra = "".join(f"import sys; sys.path.insert(0, {str(path)!r})\n" for path in paths)
    return subprocess.run([sys.executable, "-c", extra + code], capture_output=True, text=True, timeout=60, check=False)


def test_every_name_that_flows_import_is_there() -> None:
    done = run(INSTALL + USED)
    assert done.returncode == 0, done.stderr


def test_importing_tool_loads_nothing_heavy() -> None:
    done = run(INSTALL + "from promptflow.core import tool\nimport sys; print(*sys.modules)")
    assert not {"httpx", "openai", "jinja2", "pandas", "sqlalchemy", "studiolo"} & set(done.stdout.split())


def test_importing_studiolo_is_enough_for_the_names() -> None:
    assert run("import studiolo\nfrom promptflow.core import tool").returncode == 0


def test_a_promptflow_that_is_installed_goes_first(tmp_path: Path) -> None:
    (tmp_path / "promptflow").mkdir()
    (tmp_path / "promptflow/__init__.py").write_text("REAL = True")
    done = run(
        INSTALL + "import promptflow, sys; assert promptflow.REAL; print(names.PACKAGE in sys.path)",
        tmp_path,
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_folder_that_happens_to_be_called_promptflow_does_not_hide_the_names(tmp_path: Path) -> None:
    (tmp_path / "promptflow/examples").mkdir(parents=True)
    assert run(INSTALL + "from promptflow.core import tool", tmp_path).returncode == 0


def test_a_tool_stays_the_function_it_is() -> None:
    def plain(text: str) -> str:
        return text

    async def slow(text: str) -> str:
        return text

    assert tool(plain) is plain
    assert tool(name="Slow", description="later")(slow) is slow
    assert inspect.iscoroutinefunction(slow)
    assert getattr(plain, MARK) == __name__


def test_a_tool_of_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'magic'"):
        tool(type="magic")


def listed(subscription_id: str, prefix: str = "a", size: int = 3) -> list[dict[str, Any]]:
    return [{"value": f"{prefix}{number}"} for number in range(size)]


def test_a_dynamic_list_says_which_inputs_feed_it() -> None:
    written = InputSetting(dynamic_list=DynamicList(listed, {"prefix": "name"}), is_multi_select=True).written()
    assert written["is_multi_select"] is True
    assert written["dynamic_list"] == {
        "func_path": f"{__name__}.listed",
        "func_kwargs": [
            {"name": "prefix", "type": ["string"], "optional": True, "default": "a", "reference": "${inputs.name}"},
            {"name": "size", "type": ["int"], "optional": True, "default": 3},
        ],
    }


def test_an_input_can_be_generated_by_a_function() -> None:
    generated = GeneratedBy(listed, "mine.apart", {"prefix": InputSetting(is_multi_select=True)}).written()
    assert generated["reverse_func_path"] == "mine.apart"
    assert generated["func_kwargs"][0]["is_multi_select"] is True


def test_metrics_are_numbers() -> None:
    promptflow_names.METRICS.clear()
    promptflow_names.log_metric("grade", 3)
    assert promptflow_names.METRICS == {"grade": 3}
    with pytest.raises(ValueError, match="'grade' must be a number"):
        promptflow_names.log_metric("grade", "good")  # type: ignore[arg-type]
    promptflow_names.METRICS.clear()


@trace
def double(number: int, *, by: int = 2) -> int:
    return number * by


@trace
async def later(number: int) -> int:
    await asyncio.sleep(0)
    return int(double(number))


@trace
def pieces(count: int) -> Iterator[int]:
    yield from range(count)


@trace
async def pieces_later(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_a_traced_function_is_a_span_under_the_one_that_calls_it() -> None:
    with spans.child("node", "ask") as node:
        assert asyncio.run(later(4)) == 8
    outer = node.children[0]
    assert (outer.name, outer.inputs, outer.output) == ("later", {"number": 4}, 8)
    assert [each.name for each in outer.children] == ["double"]


def test_outside_a_node_a_traced_function_is_just_called() -> None:
    assert double(3, by=5) == 15
    assert list(pieces(2)) == [0, 1]
    assert inspect.isgeneratorfunction(pieces)
    assert inspect.isasyncgenfunction(pieces_later)


async def test_generators_are_traced_while_they_are_read() -> None:
    with spans.child("node", "ask") as node:
        assert list(pieces(2)) == [0, 1]
        assert [number async for number in pieces_later(2)] == [0, 1]
    assert [(each.name, each.output) for each in node.children] == [("pieces", [0, 1]), ("pieces_later", [0, 1])]


def test_a_traced_function_that_fails_keeps_its_error() -> None:
    @trace
    def broken() -> None:
        raise KeyError("gone")

    with spans.child("node", "ask") as node, pytest.raises(KeyError):
        broken()
    assert node.children[0].error == "KeyError: 'gone'"


def test_threads_of_the_pool_know_the_node() -> None:
    with spans.child("node", "ask") as node, ThreadPoolExecutorWithContext(2) as pool:
        assert sorted(pool.map(double, [1, 2])) == [2, 4]
    assert len(node.children) == 2
