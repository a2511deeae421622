"""Azure OpenAI from flow code."""

from __future__ import annotations

from typing import Any

from flows.promptflow import models
from flows.promptflow.connections import AzureOpenAIConnection
from flows.promptflow.tools import ToolProvider, tool
from flows.promptflow.types import PromptTemplate


class AzureOpenAI(ToolProvider):
    """The models of one connection."""

    def __init__(self, connection: AzureOpenAIConnection) -> None:
        super().__init__()
        self.connection = connection

    @tool
    def chat(self, prompt: PromptTemplate, deployment_name: str, **given: Any) -> Any:
        """Ask a chat model."""
        return models.chat(self.connection, prompt, model=deployment_name, **given)

    @tool
    def completion(self, prompt: PromptTemplate, deployment_name: str, **given: Any) -> Any:
        """Have a model go on."""
        return models.completion(self.connection, prompt, model=deployment_name, **given)

    def embedding(self, input: Any, deployment_name: str, **_others: Any) -> Any:  # noqa: A002
        """Return the vector of a text."""
        return models.embed(self.connection, input, model=deployment_name)


@tool
def chat(connection: AzureOpenAIConnection, prompt: PromptTemplate, deployment_name: str, **given: Any) -> Any:
    """Ask a chat model."""
    return models.chat(connection, prompt, model=deployment_name, **given)


@tool
def completion(connection: AzureOpenAIConnection, prompt: PromptTemplate, deployment_name: str, **given: Any) -> Any:
    """Have a model go on."""
    return models.completion(connection, prompt, model=deployment_name, **given)


def embedding(connection: AzureOpenAIConnection, input: Any, deployment_name: str, **_others: Any) -> Any:  # noqa: A002
    """Return the vector of a text."""
    return models.embed(connection, input, model=deployment_name)
