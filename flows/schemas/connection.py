"""The schema of connection YAML, every type in one."""

from __future__ import annotations

from flows import connections
from flows.connections import CUSTOM, KINDS, Kind
from flows.schemas import parts
from flows.schemas.parts import Schema

_KEPT = (
    "Kept sealed. `<user-input>` asks for it when the connection is made; `${env:NAME}` takes it from the environment."
)
_FIELDS = {
    "api_base": "Where the service is.",
    "endpoint": "Where the service is.",
    "base_url": "Where OpenAI's routes begin. Left out: OpenAI itself.",
    "url": "Where the service is.",
    "organization": "The organisation at OpenAI.",
    "api_type": "The kind of API.",
    "api_version": "The version of the API.",
    "resource_id": "The resource in Azure.",
}
_STRONG = {
    "custom_type": "The class that flow code sees, of a package's own connection type.",
    "module": "The module that has the class.",
    "package": "The package that has the module.",
    "package_version": "Its version.",
}


def schema() -> Schema:
    """Return the schema. A key of another type may stand there and mean nothing, so only required ones are held."""
    return {
        "title": "connection YAML",
        "description": "How to reach a service, and with which key: studiolo connection create --file …",
        "type": "object",
        "properties": {
            "$schema": parts.text("The schema an editor checks the file against; it changes nothing."),
            "name": parts.text("What flows call it.", minLength=1, maxLength=connections.LONGEST_NAME),
            "type": {
                "anyOf": [
                    {"enum": list(KINDS)},
                    {"enum": sorted({f"{kind.title}Connection" for kind in KINDS.values()})},
                ],
                "description": "What kind of service it is.",
            },
        },
        "required": ["type"],
        "allOf": [_of_kind(kind) for kind in KINDS.values()],
        "examples": [
            {"name": "my_openai", "type": "open_ai", "api_key": "<user-input>"},
            {"name": "my_service", "type": "custom", "configs": {"endpoint": "https://example.org"},
             "secrets": {"key": "<user-input>"}},
        ],
    }  # fmt: skip


def _of_kind(kind: Kind) -> Schema:
    if kind.type == CUSTOM:
        properties = {
            "configs": {"type": ["object", "null"], "additionalProperties": {"type": "string"},
                        "description": "Fields that may be seen."},
            "secrets": {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["string", "null"]},
                        "description": _KEPT},
            **{key: parts.text(said) for key, said in _STRONG.items()},
        }  # fmt: skip
        then: Schema = {"properties": properties, "required": ["secrets"]}
    else:
        properties = {"api_key": {"type": ["string", "null"], "description": _KEPT}}
        properties |= {key: _field(kind, key) for key in kind.configs}
        then = {"properties": properties, "required": list(kind.required)}
        needs_key: Schema = {"required": ["api_key"]}
        if kind.with_auth_mode:
            keyless = {"properties": {"auth_mode": {"const": connections.ENTRA}}, "required": ["auth_mode"]}
            then["anyOf"] = [needs_key, keyless]
        else:
            then["required"] = [*kind.required, "api_key"]
    spelled = {"enum": [kind.type, f"{kind.title}Connection"]}
    return {"if": {"properties": {"type": spelled}, "required": ["type"]}, "then": then}


def _field(kind: Kind, key: str) -> Schema:
    default = kind.optional.get(key)
    more = {} if default is None else {"default": default}
    if key == "auth_mode":
        return parts.choice(connections.AUTH_MODES, "With a key, or with a token of Microsoft Entra.", **more)
    return {**parts.text(_FIELDS[key], **more), "type": ["string", "null"] if key in kind.optional else "string"}
