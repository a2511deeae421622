"""Online endpoint YAML of Azure ML CLI v2, read once into a frozen record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving import yaml_values
from serving.endpoints import MOST_MIRRORED, Endpoint
from workspace.documents import Document
from workspace.errors import Invalid

KEYS = (
    "$schema", "name", "auth_mode", "description", "traffic", "mirror_traffic", "tags", "properties", "identity",
    "public_network_access", "compute", "location", "kind",
    "fallback",  # ours
)  # fmt: skip
UNUSED = ("identity", "public_network_access", "compute", "location")  # of the cloud: read, kept, without effect here
AUTH_MODES = ("key", "aml_token", "aad_token")
NAME = re.compile(r"[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?")
LONGEST = 32  # letters of a name that Azure's service takes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFile:
    """An endpoint as its file describes it. `traffic` and `mirror` are None where the file says nothing of them.

    With every `auth_mode` an endpoint key and a token of this workspace open the door. `unused` are the keys that
    mean something in the cloud only, `warnings` what the cloud's service would refuse.
    """

    name: str
    auth_mode: str = "key"
    description: str = ""
    traffic: Mapping[str, float] | None = None
    mirror: Mapping[str, float] | None = None
    fallback: tuple[str, ...] | None = None  # deployments that stand in, in this order, where the chosen one cannot
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(path: Path, *, name: str = "", changes: Mapping[str, str] | None = None) -> EndpointFile:
    """Read an endpoint file, or raise Invalid with `file:line:column`; `name` goes before the file's."""
    return yaml_values.read_as(path, {**({"name": name} if name else {}), **(changes or {})}, read_document)


def read_document(document: Document) -> EndpointFile:
    """Read what a file holds, or what `shown` gives with changes."""
    document.refuse_unknown(KEYS)
    found = _name(document)
    # All are processes of this machine: the kind is looked at for mistakes only.
    yaml_values.choice(document, ("online", "managed", "kubernetes"), "kind", default="online")
    traffic = yaml_values.shares(document, "traffic") if document.get("traffic") is not None else None
    if traffic is not None and sum(traffic.values()) not in (0, 100):
        total = f"{sum(traffic.values()):g}"
        raise Invalid(f"the traffic adds up to {total}, not to 100", at=document.at("traffic"))
    mirror = yaml_values.shares(document, "mirror_traffic") if document.get("mirror_traffic") is not None else None
    if mirror and (len(mirror) > 1 or max(mirror.values()) > MOST_MIRRORED):
        what = f"`mirror_traffic` names one deployment and at most {MOST_MIRRORED} percent"
        raise Invalid(what, at=document.at("mirror_traffic"))
    long = f"Azure ML takes names of at most {LONGEST} letters"
    return EndpointFile(
        name=found,
        auth_mode=yaml_values.choice(document, AUTH_MODES, "auth_mode", default="key"),
        description=yaml_values.text(document, "description"),
        traffic=traffic,
        mirror=mirror,
        fallback=_fallback(document),
        tags=yaml_values.texts(document, "tags"),
        properties=yaml_values.texts(document, "properties"),
        unused=tuple(key for key in UNUSED if document.get(key) is not None),
        warnings=(long,) if len(found) > LONGEST else (),
    )


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint as its file would describe it."""
    kept = {key: endpoint.properties.get(key) for key in ("auth_mode", "description", "tags", "properties")}
    return {
        "name": endpoint.name,
        "auth_mode": kept["auth_mode"] or "key",
        "description": kept["description"] or "",
        "traffic": dict(endpoint.traffic),
        "mirror_traffic": dict(endpoint.mirror),
        "fallback": list(endpoint.properties.get("fallback") or ()),
        "tags": kept["tags"] or {},
        "properties": kept["properties"] or {},
    }


def _fallback(document: Document) -> tuple[str, ...] | None:
    found = document.get("fallback")
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Invalid("`fallback` must be a list of deployments", at=document.at("fallback"))
    return tuple(found)


def _name(document: Document) -> str:
    name = document.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        hint = "letters, digits and '-', a letter first"
        what = "an endpoint needs `name`" if name is None else f"{name!r} cannot name an endpoint"
        raise Invalid(what, hint=hint, at=document.at("name"))
    return name
