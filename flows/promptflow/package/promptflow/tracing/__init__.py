"""Traced functions."""

from flows.promptflow.trace import ThreadPoolExecutorWithContext as ThreadPoolExecutorWithContext
from flows.promptflow.trace import start_trace as start_trace
from flows.promptflow.trace import trace as trace

__version__ = "1.18.5"
