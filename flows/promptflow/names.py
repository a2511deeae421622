"""The import package `promptflow` for machines where that is not installed, and the metrics that flow code reports.

This module stays light: `import studiolo` loads it, so that `from promptflow.client import PFClient` works after it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGE = str(Path(__file__).parent / "package")

# What the aggregation nodes of this process have reported; the worker reads and clears it.
METRICS: dict[str, float] = {}


def install() -> None:
    """Make `from promptflow.core import tool` and its like work; does nothing where promptflow is installed."""
    if "promptflow" in sys.modules or PACKAGE in sys.path:
        return
    if not is_installed():
        sys.path.append(PACKAGE)


def is_installed() -> bool:
    """Whether the real promptflow is there; a folder that happens to be called so is not it."""
    if (loaded := sys.modules.get("promptflow")) is not None:
        return not str(getattr(loaded, "__file__", "")).startswith(PACKAGE)
    try:
        spec = importlib.util.find_spec("promptflow")
    except ValueError:
        return False
    return spec is not None and spec.origin is not None and not spec.origin.startswith(PACKAGE)


def log_metric(key: str, value: float, variant_id: str | None = None) -> None:  # noqa: ARG001 - as callers write it
    """Report one number of the whole run, from an aggregation node."""
    try:
        METRICS[key] = value if type(value) in (int, float) else float(value)
    except (TypeError, ValueError):
        raise ValueError(f"metric {key!r} must be a number, not {value!r}") from None


def hear_metrics() -> None:
    """Hear what the real promptflow's `log_metric` is told as well, where flow code has imported it."""
    logger = sys.modules.get("promptflow._core.metric_logger")
    if logger is not None and is_installed():
        logger.add_metric_logger(log_metric)
