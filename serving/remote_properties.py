"""What a deployment of engine `openai` may say: where the server is, or which connection knows; never a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workspace.errors import Invalid

_SECRETS = ("api_key", "key", "token", "authorization")


def check_remote(properties: Mapping[str, Any]) -> None:
    """Raise Invalid where a deployment does not say where its server is, or says its key for everybody to read."""
    if told := [name for name in _SECRETS if name in properties]:
        hint = "keep the key in a connection: studiolo connection create --file connection.yaml"
        raise Invalid(f"a deployment keeps no secrets, but {told[0]!r} is set", hint=hint)
    base_url = str(properties.get("base_url") or "")
    if properties.get("connection") and not base_url:
        return
    if not base_url.startswith(("http://", "https://")):
        hint = "base_url: http://127.0.0.1:8000/v1, or connection: the name of one"
        raise Invalid("an openai deployment needs the property base_url", hint=hint)
