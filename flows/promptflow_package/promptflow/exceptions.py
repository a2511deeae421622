"""Errors that flow code raises and catches."""

from flows.promptflow_types import ErrorCategory as ErrorCategory
from flows.promptflow_types import ErrorTarget as ErrorTarget
from flows.promptflow_types import PromptflowException as PromptflowException
from flows.promptflow_types import SystemErrorException as SystemErrorException
from flows.promptflow_types import UserErrorException as UserErrorException
from flows.promptflow_types import ValidationException as ValidationException
