"""Connections, where older flow code looks for them."""

from flows.promptflow.connections import *  # noqa: F403
from flows.promptflow.connections import _Connection as _Connection
