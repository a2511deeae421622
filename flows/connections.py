"""Connections: where a model is reached, and with which key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workspace.errors import NotFound, did_you_mean

DEFAULT = "default"
LOCAL_NAMES = ("", "studiolo", DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An OpenAI-compatible server. The key is left out of every text that shows the connection."""

    name: str
    base_url: str
    api_key: str = field(default="", repr=False)
    type: str = "open_ai"

    @classmethod
    def to_gateway(cls, base_url: str, token: str) -> Connection:
        """Return the connection to our own gateway, the one that nodes without a connection use."""
        return cls(name=DEFAULT, base_url=base_url, api_key=token)


def find(connections: Mapping[str, Connection], name: str) -> Connection:
    """Return the connection a node names; no name, `studiolo` and `default` are the local gateway."""
    wanted = DEFAULT if name in LOCAL_NAMES else name
    if wanted not in connections:
        hint = did_you_mean(wanted, connections) or "leave `connection` out to use the local gateway"
        raise NotFound(f"no connection {wanted!r}", hint=hint)
    return connections[wanted]
