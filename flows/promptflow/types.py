"""Types that flow code annotates parameters with, and the errors it raises and catches."""

from __future__ import annotations

import string
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Secret(str):
    """A text that is kept secret."""

    __slots__ = ("secret_name",)

    secret_name: str

    def set_secret_name(self, name: str) -> None:
        """Remember what the secret is called."""
        self.secret_name = name


class PromptTemplate(str):
    """The text of a prompt, not yet rendered."""

    __slots__ = ()


class FilePath(str):
    """The path of a file."""

    __slots__ = ()


@dataclass
class AssistantDefinition:
    """An assistant: its model, what it is told, and the tools it may use."""

    model: str
    instructions: str
    tools: list[Any]

    def serialize(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return asdict(self)

    @staticmethod
    def deserialize(data: dict[str, Any]) -> AssistantDefinition:
        """Make one from a mapping."""
        return AssistantDefinition(
            model=data.get("model", ""), instructions=data.get("instructions", ""), tools=data.get("tools", [])
        )


class ErrorCategory(StrEnum):
    """Whose fault an error is."""

    USER_ERROR = "UserError"
    SYSTEM_ERROR = "SystemError"
    UNKNOWN = "Unknown"


class ErrorTarget(StrEnum):
    """Where an error happened."""

    EXECUTOR = "Executor"
    BATCH = "Batch"
    CORE = "Core"
    FLOW_EXECUTOR = "FlowExecutor"
    NODE_EXECUTOR = "NodeExecutor"
    TOOL = "Tool"
    AZURE_RUN_STORAGE = "AzureRunStorage"
    RUNTIME = "Runtime"
    UNKNOWN = "Unknown"
    RUN_TRACKER = "RunTracker"
    RUN_STORAGE = "RunStorage"
    CONTROL_PLANE_SDK = "ControlPlaneSDK"
    SERVING_APP = "ServingApp"
    FLOW_INVOKER = "FlowInvoker"
    FUNCTION_PATH = "FunctionPath"


class PromptflowException(Exception):
    """An error of flow code: a message, or a format with the values that fill it."""

    def __init__(
        self, message: str = "", message_format: str = "", target: ErrorTarget = ErrorTarget.UNKNOWN,
        module: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.message_format = message_format
        self.target = target
        self.module = module
        self.additional_info: dict[str, Any] = {}
        names = [name for _, name, _, _ in string.Formatter().parse(message_format) if name]
        self.message_parameters = {name: str(kwargs[name]) for name in names if name in kwargs}
        self._error: BaseException | None = kwargs.get("error")
        filled = message_format.format(**{name: self.message_parameters.get(name, f"<{name}>") for name in names})
        super().__init__(message or filled)

    @property
    def message(self) -> str:
        """Return what it says."""
        return str(self)

    @property
    def inner_exception(self) -> BaseException | None:
        """Return the error it was raised from."""
        return self._error or self.__cause__

    @property
    def error_codes(self) -> list[str]:
        """Return the names of the error, the general one first."""
        kinds = [kind.__name__ for kind in reversed(type(self).__mro__) if issubclass(kind, PromptflowException)]
        return [_CODES.get(kind, kind) for kind in kinds[1:]]


_CODES = {
    "UserErrorException": "UserError",
    "SystemErrorException": "SystemError",
    "ValidationException": "ValidationError",
}


class UserErrorException(PromptflowException):
    """What was given cannot be used."""


class SystemErrorException(PromptflowException):
    """Something failed that the person cannot mend."""


class ValidationException(UserErrorException):
    """A file or a value is not valid."""
