"""The names that flow code imports from `promptflow`, for machines where that is not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from flows import python_tools

METRICS: dict[str, float] = {}


def install() -> None:
    """Make `from promptflow.core import tool` and its like work; does nothing where promptflow is installed."""
    if "promptflow" in sys.modules or importlib.util.find_spec("promptflow") is not None:
        return
    names = {"tool": tool, "log_metric": log_metric, "trace": trace}
    for module in ("promptflow", "promptflow.core", "promptflow.tracing"):
        made = ModuleType(module)
        made.__path__ = []
        vars(made).update(names)
        sys.modules[module] = made
        parent, _, child = module.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, made)


def tool(function: Callable[..., Any] | None = None, **_settings: Any) -> Any:
    """Mark a function as a tool, as `@tool` or `@tool(name=…)`."""
    return python_tools.mark if function is None else python_tools.mark(function)


def trace(function: Callable[..., Any]) -> Callable[..., Any]:
    """Leave a function as it is; what it does is seen in its node."""
    return function


def log_metric(key: str, value: float) -> None:
    """Report one number of the whole run, from an aggregation node."""
    METRICS[key] = float(value)
