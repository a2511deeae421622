"""Types of parameters."""

from flows.promptflow.types import AssistantDefinition as AssistantDefinition
from flows.promptflow.types import FilePath as FilePath
from flows.promptflow.types import PromptTemplate as PromptTemplate
from flows.promptflow.types import Secret as Secret
