"""The embedding tool."""

from __future__ import annotations

from typing import Any

from flows.promptflow import models
from flows.promptflow.tools import tool


@tool
def embedding(connection: Any, input: str, deployment_name: str = "", model: str = "") -> Any:  # noqa: A002
    """Return the vector of a text."""
    return models.embed(connection, input, model=deployment_name or model)
