"""The names that flow code imports from `promptflow`, provided by Studiolo where promptflow is not installed."""

from __future__ import annotations

from typing import Any

from flows.promptflow.names import log_metric as log_metric
from flows.promptflow.tools import ToolProvider as ToolProvider
from flows.promptflow.tools import tool as tool

__version__ = "1.18.5"  # the version whose names these are


def __getattr__(name: str) -> Any:
    if name in ("PFClient", "load_flow", "load_run"):
        from studiolo import pf_client

        return getattr(pf_client, name)
    raise AttributeError(f"module 'promptflow' has no attribute {name!r}")
