"""The schema of online endpoint YAML."""

from __future__ import annotations

from flows.schemas import parts
from flows.schemas.parts import Schema
from serving import endpoint_files
from serving.endpoints import MOST_MIRRORED


def schema() -> Schema:
    """Return the schema."""
    cloud = "Means something in the cloud only; kept, without effect here."
    percent = {"type": "number", "minimum": 0, "maximum": 100}
    copied = {"type": "number", "minimum": 0, "maximum": MOST_MIRRORED}
    known: dict[str, Schema] = {
        "$schema": parts.text("The schema an editor checks the file against; it changes nothing."),
        "name": parts.text("What clients call it.", pattern=f"^{endpoint_files.NAME.pattern}$"),
        "auth_mode": _any_case(endpoint_files.AUTH_MODES, "How it is opened; here by an endpoint key or a token."),
        "description": parts.text("What it is for."),
        "traffic": parts.names("Percent by deployment: 0 or 100 in all.", percent),
        "mirror_traffic": parts.names("One deployment that gets copies, in percent.", copied, maxProperties=1),
        "tags": parts.names("Words of your own.", True),
        "properties": parts.names("Words of your own.", True),
        "identity": parts.anything(cloud),
        "public_network_access": parts.anything(cloud),
        "compute": parts.anything(cloud),
        "location": parts.anything(cloud),
        "fallback": {"type": "array", "items": {"type": "string"},
                     "description": "Deployments that stand in, in this order, where the chosen one cannot answer."},
        "kind": _any_case(("online", "managed", "kubernetes"), "All are processes of this machine."),
    }  # fmt: skip
    return parts.mapping(
        "A stable name for clients: studiolo endpoint create --file …",
        {key: known[key] for key in endpoint_files.KEYS},
        required=("name",),
        title="online endpoint YAML",
    )


def _any_case(words: tuple[str, ...], description: str) -> Schema:
    pattern = "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in words)
    return parts.either(description, {"enum": list(words)}, {"type": "string", "pattern": f"^({pattern})$"})
