"""Flows of nodes that a test writes, run once or line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import flows
from flows.promptflow import names as promptflow_names
from flows.results import LineRecord
from flows.runner import Runner
from flows.steps import Kit

HEAD = """\
inputs:
  x: {type: int, default: 2}
outputs:
  y: {type: object, reference: "${last.output}"}
nodes:
"""


def node(name: str, more: str = "", inputs: str = 'x: "${inputs.x}"', kind: str = "python") -> str:
    """Write a python node of its own file."""
    source = f"source: {{type: code, path: {name}.py}}"
    return f"- {{name: {name}, type: {kind}, {source}, inputs: {{{inputs}}}{', ' + more if more else ''}}}\n"


@pytest.fixture
def once(make_flow: Callable[..., Path]) -> Callable[..., flows.FlowResult]:
    """Run a flow of the given nodes and tools once."""

    def run(nodes: str, *, given: dict[str, Any] | None = None, **tools: str) -> flows.FlowResult:
        return flows.test(flows.load(make_flow(HEAD + nodes, **tools)), given or {}, connections={})

    return run


@pytest.fixture(autouse=True)
def names() -> None:
    promptflow_names.install()


@contextmanager
def running(folder: Path, *, concurrency: int = 100, line_timeout: float | None = None) -> Iterator[Runner]:
    flow = flows.load(folder)
    runner = Runner(Kit(flow=flow, connections={}), concurrency=concurrency, line_timeout=line_timeout)
    try:
        yield runner
    finally:
        runner.close()


def all_lines(runner: Runner, inputs: list[dict[str, Any]]) -> list[LineRecord]:
    ended: SimpleQueue[LineRecord] = SimpleQueue()
    for number, values in enumerate(inputs):
        runner.start(number, values, ended.put)
    return sorted((ended.get(timeout=20) for _ in inputs), key=lambda line: line.number)


PASS = "def {0}(x): return x"
