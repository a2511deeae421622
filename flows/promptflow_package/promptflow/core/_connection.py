"""Connections, where older flow code looks for them."""

from flows.promptflow_connections import *  # noqa: F403
from flows.promptflow_connections import _Connection as _Connection
