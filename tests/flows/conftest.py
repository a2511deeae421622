"""A flow of plain Python nodes, made in the test's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TOOL = "from promptflow.core import tool, log_metric\n\n\n@tool\n"


@pytest.fixture
def make_flow(tmp_path: Path) -> Callable[..., Path]:
    """Write a flow folder: `make_flow(yaml, double="def double(x: int): return 2 * x")`."""

    def make(text: str, **tools: str) -> Path:
        folder = tmp_path / "my-flow"
        folder.mkdir(exist_ok=True)
        (folder / "flow.dag.yaml").write_text(text)
        for name, code in tools.items():
            (folder / f"{name}.py").write_text(TOOL + code + "\n")
        return folder

    return make


@pytest.fixture
def doubling(make_flow: Callable[..., Path]) -> Path:
    """A flow that doubles a number after a pause, fails at 5, and sums up at the end."""
    return make_flow(
        DOUBLING,
        double=(
            "def double(x: int, pause: float) -> int:\n"
            "    import time\n"
            "    time.sleep(pause)\n"
            "    if x == 5:\n"
            "        raise ValueError('five is not for us')\n"
            "    return 2 * x"
        ),
        total=(
            "def total(doubled: list, given: list) -> None:\n"
            "    assert all(d == 2 * x for d, x in zip(doubled, given, strict=True))\n"
            "    log_metric('sum', sum(doubled))"
        ),
    )


DOUBLING = """\
inputs:
  x: {type: int}
  pause: {type: double, default: 0}
outputs:
  y: {type: int, reference: "${double.output}"}
nodes:
- name: double
  type: python
  source: {type: code, path: double.py}
  inputs: {x: "${inputs.x}", pause: "${inputs.pause}"}
- name: total
  type: python
  aggregation: true
  source: {type: code, path: total.py}
  inputs: {doubled: "${double.output}", given: "${inputs.x}"}
"""
