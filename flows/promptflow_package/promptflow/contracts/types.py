"""Types of parameters."""

from flows.promptflow_types import AssistantDefinition as AssistantDefinition
from flows.promptflow_types import FilePath as FilePath
from flows.promptflow_types import PromptTemplate as PromptTemplate
from flows.promptflow_types import Secret as Secret
