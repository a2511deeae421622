"""Traced functions."""

from flows.promptflow_trace import ThreadPoolExecutorWithContext as ThreadPoolExecutorWithContext
from flows.promptflow_trace import start_trace as start_trace
from flows.promptflow_trace import trace as trace

__version__ = "1.18.5"
