"""What tools are marked with."""

from flows.promptflow_tools import DynamicList as DynamicList
from flows.promptflow_tools import GeneratedBy as GeneratedBy
from flows.promptflow_tools import InputSetting as InputSetting
from flows.promptflow_tools import ToolProvider as ToolProvider
from flows.promptflow_tools import ToolType as ToolType
from flows.promptflow_tools import tool as tool
