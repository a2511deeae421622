"""OpenAI from flow code."""

from __future__ import annotations

from typing import Any

from flows.promptflow import models
from flows.promptflow.connections import OpenAIConnection
from flows.promptflow.tools import ToolProvider, tool
from flows.promptflow.types import PromptTemplate


class OpenAI(ToolProvider):
    """The models of one connection."""

    def __init__(self, connection: OpenAIConnection) -> None:
        super().__init__()
        self.connection = connection

    @tool
    def chat(self, prompt: PromptTemplate, model: str = "", **given: Any) -> Any:
        """Ask a chat model."""
        return models.chat(self.connection, prompt, model=model, **given)

    @tool
    def completion(self, prompt: PromptTemplate, model: str = "", **given: Any) -> Any:
        """Have a model go on."""
        return models.completion(self.connection, prompt, model=model, **given)

    def embedding(self, input: Any, model: str = "", **_others: Any) -> Any:  # noqa: A002
        """Return the vector of a text."""
        return models.embed(self.connection, input, model=model)


@tool
def chat(connection: OpenAIConnection, prompt: PromptTemplate, model: str = "", **given: Any) -> Any:
    """Ask a chat model."""
    return models.chat(connection, prompt, model=model, **given)


@tool
def completion(connection: OpenAIConnection, prompt: PromptTemplate, model: str = "", **given: Any) -> Any:
    """Have a model go on."""
    return models.completion(connection, prompt, model=model, **given)


def embedding(connection: OpenAIConnection, input: Any, model: str = "", **_others: Any) -> Any:  # noqa: A002
    """Return the vector of a text."""
    return models.embed(connection, input, model=model)
