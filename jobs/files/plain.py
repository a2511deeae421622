"""What was read, as plain values again: what a job's row keeps, and what `show -o yaml` prints. Secrets are in it."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.files.environment import Build, Environment
from jobs.files.record import keys_of
from jobs.files.references import Reference, Url

_REQUIREMENT_FILE = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)[ =]+(?P<path>\S+)")
# What a component says and a job written in place does not.
_OF_COMPONENTS = frozenset({"name", "version", "inputs", "outputs", "type", "is_deterministic"})


def plain(value: Any) -> Any:
    """Return a value as a file would say it, without what is as it is anyway. Paths are absolute.

    Files that it names are in it. Reading it gives the same again: `job_of(plain(job), job.folder)`.
    """
    if isinstance(value, Environment):
        return _environment(value)
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Url):
        return value.url
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _step(value) if getattr(value, "inline", False) and hasattr(value, "component") else _record(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _record(value: Any) -> dict[str, Any]:
    found = {}
    for name in keys_of(value.__class__):
        given = getattr(value, name)
        default = _default(value.__class__, name)
        if given is None and default is dataclasses.MISSING:
            continue  # a component that was written in place needs less than one in a file
        if name == "type" or given != default:
            found[name] = plain(given)
    if includes := found.get("additional_includes"):
        folder = value.origin.folder
        found["additional_includes"] = [str(folder / each) if isinstance(each, str) else each for each in includes]
    return found


def _step(value: Any) -> dict[str, Any]:
    """Return a step whose component was written in place, as it was written."""
    component = {key: each for key, each in _record(value.component).items() if key not in _OF_COMPONENTS}
    own = {key: each for key, each in _record(value).items() if key != "component" and each is not None}
    return component | own


@functools.cache
def _default(made: Any, name: str) -> Any:
    field = next(field for field in dataclasses.fields(made) if field.name == name)
    return field.default_factory() if callable(field.default_factory) else field.default


def _environment(value: Environment) -> Any:
    if value.name is not None:
        return f"azureml:{value.name}" + (f":{value.version}" if value.version else "")
    found: dict[str, Any] = {"image": value.image, "conda_file": _conda(value), "build": _build(value.build)}
    if value.inference_config:
        found["inference_config"] = {
            key: {"port": route.port, "path": route.path} for key, route in value.inference_config.items()
        }
    return {key: each for key, each in found.items() if each is not None}


def _build(build: Build | None) -> dict[str, str] | None:
    return None if build is None else {"path": str(build.path), "dockerfile_path": build.dockerfile}


def _conda(value: Environment) -> Mapping[str, Any] | None:
    """Return the conda file with the files that it names by absolute paths: it may lie elsewhere from now on."""
    if value.conda is None or not isinstance(value.conda.get("dependencies"), list):
        return value.conda
    listed = [
        {"pip": [_requirement(line, value.folder) for line in each["pip"]]}
        if isinstance(each, Mapping) and isinstance(each.get("pip"), list)
        else each
        for each in value.conda["dependencies"]
    ]
    return {**value.conda, "dependencies": listed}


def _requirement(line: Any, folder: Path) -> Any:
    if not isinstance(line, str):
        return line
    if found := _REQUIREMENT_FILE.fullmatch(line.strip()):
        return f"{found[1]} {(folder / found['path']).resolve()}"
    return str((folder / line).resolve()) if line.startswith(("./", "../")) else line
