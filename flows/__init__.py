"""Prompt flow formats, the graph runner and batch runs: `load` a flow, `test` it once, `run` it over rows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.batch import Batch as Batch
    from flows.batch import Finished as Finished
    from flows.batch import LineDone as LineDone
    from flows.batch import Started as Started
    from flows.batch import lines as lines
    from flows.batch import run as run
    from flows.connections import Connection as Connection
    from flows.crew import Conditions as Conditions
    from flows.crew import Crew as Crew
    from flows.flow import Flow as Flow
    from flows.graph import load as load
    from flows.once import FlowResult as FlowResult
    from flows.once import test as test
    from flows.once import test_node as test_node
    from flows.results import LineRecord as LineRecord
    from flows.results import NodeRecord as NodeRecord

_HOMES = {
    "Batch": "flows.batch",
    "Conditions": "flows.crew",
    "Crew": "flows.crew",
    "Connection": "flows.connections",
    "Finished": "flows.batch",
    "Flow": "flows.flow",
    "FlowResult": "flows.once",
    "LineDone": "flows.batch",
    "LineRecord": "flows.results",
    "NodeRecord": "flows.results",
    "Started": "flows.batch",
    "lines": "flows.batch",
    "load": "flows.graph",
    "run": "flows.batch",
    "test": "flows.once",
    "test_node": "flows.once",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flows' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)  # the next time it is just there
    return found
