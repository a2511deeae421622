"""What tools are marked with."""

from flows.promptflow.tools import DynamicList as DynamicList
from flows.promptflow.tools import GeneratedBy as GeneratedBy
from flows.promptflow.tools import InputSetting as InputSetting
from flows.promptflow.tools import ToolProvider as ToolProvider
from flows.promptflow.tools import ToolType as ToolType
from flows.promptflow.tools import tool as tool
