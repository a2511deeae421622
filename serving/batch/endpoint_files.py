"""Batch endpoint YAML of Azure ML CLI v2, read once into a frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving import yaml_values
from serving.endpoint_files import LONGEST, NAME
from serving.endpoints import Endpoint
from workspace.documents import Document
from workspace.errors import Invalid

KEYS = (
    "$schema", "name", "auth_mode", "description", "defaults", "tags", "properties", "identity", "location",
    "public_network_access", "compute",
)  # fmt: skip
UNUSED = ("identity", "location", "public_network_access", "compute")  # of the cloud: read, without effect here
AUTH_MODES = ("aad_token", "key")
DEFAULTS = ("deployment_name",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEndpointFile:
    """A batch endpoint as its file describes it; `default` is None where the file says nothing of it."""

    name: str
    auth_mode: str = "aad_token"
    description: str = ""
    default: str | None = None  # the deployment that answers where none is named
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(path: Path, *, name: str = "", changes: Mapping[str, str] | None = None) -> BatchEndpointFile:
    """Read a batch endpoint file, or raise Invalid with `file:line:column`; `name` goes before the file's."""
    return yaml_values.read_as(path, {**({"name": name} if name else {}), **(changes or {})}, read_document)


def read_document(document: Document) -> BatchEndpointFile:
    """Read what a file holds, or what `shown` gives with changes."""
    document.refuse_unknown(KEYS)
    name = yaml_values.required(document, "name")
    if not NAME.fullmatch(name):
        hint = "letters, digits and '-', a letter first"
        raise Invalid(f"{name!r} cannot name an endpoint", hint=hint, at=document.at("name"))
    warnings = [f"Azure ML takes names of at most {LONGEST} letters"] if len(name) > LONGEST else []
    # A typo here passes in the cloud, and the samples have some: it is told, not refused.
    for key in yaml_values.mapping(document, "defaults"):
        if key not in DEFAULTS:
            warnings.append(f"{document.at('defaults', key)}: `defaults.{key}` is not known and has no effect")
    return BatchEndpointFile(
        name=name,
        auth_mode=yaml_values.choice(document, AUTH_MODES, "auth_mode", default="aad_token"),
        description=yaml_values.text(document, "description"),
        default=yaml_values.text(document, "defaults", "deployment_name") or None,
        tags=yaml_values.texts(document, "tags"),
        properties=yaml_values.texts(document, "properties"),
        unused=tuple(key for key in UNUSED if document.get(key) is not None),
        warnings=tuple(warnings),
    )


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return a batch endpoint as its file would describe it."""
    kept = endpoint.properties
    return {
        "name": endpoint.name,
        "auth_mode": kept.get("auth_mode") or "aad_token",
        "description": kept.get("description") or "",
        "defaults": {"deployment_name": kept["default"]} if kept.get("default") else {},
        "tags": kept.get("tags") or {},
        "properties": kept.get("properties") or {},
    }
