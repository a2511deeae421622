"""Errors that flow code raises and catches."""

from flows.promptflow.types import ErrorCategory as ErrorCategory
from flows.promptflow.types import ErrorTarget as ErrorTarget
from flows.promptflow.types import PromptflowException as PromptflowException
from flows.promptflow.types import SystemErrorException as SystemErrorException
from flows.promptflow.types import UserErrorException as UserErrorException
from flows.promptflow.types import ValidationException as ValidationException
