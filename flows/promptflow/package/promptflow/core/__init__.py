"""Tools and metrics; model configurations and flows that are called in this process come when they are first named."""

from __future__ import annotations

import importlib
from typing import Any

from flows.promptflow.names import log_metric as log_metric
from flows.promptflow.tools import ToolProvider as ToolProvider
from flows.promptflow.tools import tool as tool

log_flow_metric = log_metric
__version__ = "1.18.5"

_HOMES = {
    "AsyncFlow": "studiolo.pf_flow",
    "AsyncPrompty": "studiolo.pf_flow",
    "AzureOpenAIModelConfiguration": "flows.promptflow.configurations",
    "Flow": "studiolo.pf_flow",
    "ModelConfiguration": "flows.promptflow.configurations",
    "OpenAIModelConfiguration": "flows.promptflow.configurations",
    "Prompty": "studiolo.pf_flow",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'promptflow.core' has no attribute {name!r}")
