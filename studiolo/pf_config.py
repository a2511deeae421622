"""The settings of `pf config`: pf.yaml in the workspace's folder, after any pf.yaml beside or above the caller."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workspace.documents import read_yaml
from workspace.errors import Invalid
from workspace.paths import write_atomically

FILE = "pf.yaml"
KEYS = {
    "telemetry.enabled": "kept for scripts that set it; nothing is ever reported",
    "connection.provider": "local; connections are stored in the workspace",
    "run.output_path": "where the files of runs go; may hold ${flow_directory}",
    "trace.destination": "kept for scripts that set it",
    "service.host": "kept for scripts that set it",
    "enable_internal_features": "kept for scripts that set it",
    "user_agent": "kept for scripts that set it",
    "cli.installation_id": "kept for scripts that set it",
}


def load(home: Path, *, start: Path | None = None) -> dict[str, Any]:
    """Return all settings; those of the workspace go before those found beside the caller."""
    found: dict[str, Any] = {}
    if start is not None:
        near = next((folder / FILE for folder in (start, *start.parents) if (folder / FILE).is_file()), None)
        found = _read(near) if near else {}
    return _merged(found, _read(home / FILE))


def get(home: Path, key: str, *, start: Path | None = None) -> Any:
    """Return one setting by its dotted name, None where it is not set."""
    value: Any = load(home, start=start or Path.cwd())
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def put(home: Path, values: Mapping[str, str], *, folder: Path | None = None) -> None:
    """Set settings by their dotted names, in the workspace or in the pf.yaml of a folder."""
    from ruamel.yaml import YAML

    file = (folder or home) / FILE
    found = _read(file)
    for key, value in values.items():
        _check(key, value)
        parts = key.split(".")
        place = found
        for part in parts[:-1]:
            if not isinstance(place.setdefault(part, {}), dict):
                raise Invalid(f"{key!r}: {part!r} has a value and no parts")
            place = place[part]
        place[parts[-1]] = value
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(found, text)
    write_atomically(file, text.getvalue())


def _check(key: str, value: str) -> None:
    if key == "connection.provider" and value not in ("local", ""):
        raise Invalid(f"connections of {value!r} cannot be reached", hint="connection.provider=local")
    if key == "run.output_path" and str(value).rstrip("/").endswith("${flow_directory}"):
        hint = "runs inside a flow's folder would become part of the flow: ${flow_directory}/../runs"
        raise Invalid("run.output_path cannot be the flow's own folder", hint=hint)


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    document = read_yaml(file)
    if document.root is None:
        return {}
    if not isinstance(document.root, dict):
        raise Invalid("settings are a mapping", at=document.at())
    return document.root


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found
