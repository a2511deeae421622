"""The run YAML of `pf run create --file`, read once into a frozen object; its paths are relative to the file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workspace.documents import Document, read_yaml
from workspace.errors import Invalid, NotFound

KEYS = frozenset(
    {
        "$schema", "name", "display_name", "description", "tags", "properties", "flow", "data", "run",
        "column_mapping", "variant", "environment_variables", "connections", "init", "resume_from", "code", "type",
        # of the cloud; without meaning here
        "resources", "identity", "runtime", "environment", "inputs_mapping", "use_remote_flow",
    }
)  # fmt: skip
REMOTE = re.compile(r"^(azureml:|https?://|abfss?://|wasbs?://)")
ENTRY = re.compile(r"^[\w.]+:\w+$")
MACRO = re.compile(r"\$\{(variant_id|run|timestamp)\}")
NO_VARIANT = "variant_0"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """What a run YAML asks for. `flow` is a path or a "module:name"; `warnings` are what could not be understood."""

    flow: str | None = None
    data: Path | None = None
    run: str | None = None
    name: str | None = None
    display_name: str | None = None
    description: str = ""
    variant: str | None = None
    column_mapping: Mapping[str, Any] = field(default_factory=dict)
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    resume_from: str | None = None
    warnings: tuple[str, ...] = ()


def read(path: Path) -> RunFile:
    """Read a run YAML. Raises Invalid with `file:line:column`; unknown keys are told in `warnings` only."""
    document = read_yaml(path)
    if not isinstance(document.root, dict):
        raise Invalid("a run YAML is a mapping", hint="it needs `flow`, and `data` or `run`", at=document.at())
    flow = _flow(document)
    data = _local(document, "data")
    run, resume = _text(document, "run"), _text(document, "resume_from")
    if flow is None and resume is None:
        raise Invalid("a run needs `flow`", hint="the path of a flow folder", at=document.at())
    if data is None and run is None and resume is None:
        raise Invalid("a run needs `data` or `run`", hint="rows to run over, or an earlier run", at=document.at())
    connections = _mapping(document, "connections")
    for node, given in connections.items():
        if not isinstance(given, dict):
            hint = f"write {node}: {{connection: NAME}}"
            raise Invalid(
                f"`connections` of {node!r} must be a mapping", hint=hint, at=document.at("connections", node)
            )
    return RunFile(
        flow=flow,
        data=data,
        run=run,
        name=_text(document, "name"),
        display_name=_text(document, "display_name"),
        description=_text(document, "description") or "",
        variant=_text(document, "variant"),
        column_mapping=_mapping(document, "column_mapping") or _mapping(document, "inputs_mapping"),
        connections=connections,
        environment_variables=_variables(document),
        init=_init(document),
        tags=_tags(document),
        properties=_mapping(document, "properties"),
        resume_from=resume,
        warnings=tuple(f"{document.at(key)}: unknown key {key!r}" for key in document.root if key not in KEYS),
    )


def default_name(flow: str | Path, variant: str | None = None) -> str:
    """Return what a run is called where nobody says: `<folder>_<variant>_<yyyymmdd_HHMMSS_micros>`.

    Only letters, digits and underscores are left of it.
    """
    path = Path(str(flow).partition(":")[0] if ENTRY.match(str(flow)) else flow).absolute()
    folder = path.parent if path.suffix in (".yaml", ".yml") else path
    now = datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
    text = f"{folder.stem}_{variant_id(variant)}_{now}"
    name = re.sub(r"\W+", "_", text, flags=re.ASCII)
    return f"_{name}" if name[0].isdigit() else name


def display_name(text: str, *, run: str, variant: str | None = None) -> str:
    """Return a display name with ${variant_id}, ${run} and ${timestamp} filled in."""
    values = {"variant_id": variant_id(variant), "run": run, "timestamp": time.strftime("%Y%m%d%H%M", time.gmtime())}
    return MACRO.sub(lambda match: values[match[1]], text)


def variant_id(variant: str | None) -> str:
    """Return the id in "node.variant" or "${node.variant}"."""
    return variant.strip("${}").rpartition(".")[2] if variant else NO_VARIANT


def read_variables(path: Path) -> dict[str, str]:
    """Read a .env file: NAME=value, quotes and comments as usual. Raises Invalid with the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError:
        raise NotFound(f"no file {str(path)!r}", hint="a file of NAME=value lines") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stated = line.strip().removeprefix("export ").strip()
        if not stated or stated.startswith("#"):
            continue
        name, equals, value = stated.partition("=")
        if not equals or not name.strip():
            raise Invalid(f"{path}:{number}: expected NAME=value")
        value = value.strip()
        if value[:1] in ("'", '"') and value.endswith(value[0]) and len(value) > 1:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        found[name.strip()] = value
    return found


def _flow(document: Document) -> str | None:
    text = _text(document, "flow")
    if text is None or (ENTRY.match(text) and not (document.path.parent / text).exists()):
        return text
    path = _local(document, "flow")
    assert path is not None  # noqa: S101 - there is a text
    return str(path)


def _local(document: Document, key: str) -> Path | None:
    text = _text(document, key)
    if text is None:
        return None
    if REMOTE.match(text):
        raise Invalid(f"`{key}` is elsewhere: {text}", hint="download it and name the file", at=document.at(key))
    path = document.path.parent / Path(text).expanduser()
    if not path.exists():
        raise NotFound(f"`{key}`: no {str(path)!r}", hint="paths are relative to the run YAML", at=document.at(key))
    return path


def _text(document: Document, key: str) -> str | None:
    value = document.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, dict | list):
        raise Invalid(f"`{key}` must be a text", at=document.at(key))
    return str(value)


def _mapping(document: Document, key: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"`{key}` must be a mapping", at=document.at(key))
    return {str(name): each for name, each in value.items()}


def _variables(document: Document) -> dict[str, str]:
    value = document.get("environment_variables")
    if isinstance(value, str):
        return read_variables(document.path.parent / value)
    return {
        name: json.dumps(each) if isinstance(each, dict | list) else str(each)
        for name, each in _mapping(document, "environment_variables").items()
    }


def _init(document: Document) -> dict[str, Any]:
    value = document.get("init")
    if not isinstance(value, str):
        return _mapping(document, "init")
    path = document.path.parent / value
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"`init`: {path} cannot be read: {error}", at=document.at("init")) from None
    if not isinstance(found, dict):
        raise Invalid(f"`init`: {path} holds no JSON object", at=document.at("init"))
    return found


def _tags(document: Document) -> dict[str, str]:
    value = document.get("tags")
    parts = value if isinstance(value, list) else [value or {}]
    if not all(isinstance(part, dict) for part in parts):
        raise Invalid("`tags` must be a mapping", at=document.at("tags"))
    return {str(name): str(each) for part in parts for name, each in part.items()}
