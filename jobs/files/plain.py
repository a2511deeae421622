"""What was read, as plain values again: what a job's row keeps, and what `show -o yaml` prints."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.files.environment import Build, Environment
from jobs.files.references import DatastorePath, OutputPath, Reference, RunPath, Url

LEFT_OUT = frozenset({"origin", "findings"})
_REQUIREMENT_FILE = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)[ =]+(?P<path>\S+)")


def plain(value: Any) -> Any:
    """Return a value as a file would say it, without what is as it is anyway. Paths are absolute.

    Reading it gives the same again: `job_of(plain(job), job.folder) == job`.
    """
    if isinstance(value, Environment):
        return _environment(value)
    if isinstance(value, Reference):
        return str(value)
    if isinstance(value, Url):
        return value.url
    if isinstance(value, DatastorePath | OutputPath | RunPath):
        raise TypeError(f"{value!r} stands in no file")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _record(value: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        if field.name not in LEFT_OUT and (field.name == "type" or given != _default(value.__class__, field.name)):
            found[field.name] = plain(given)
    return found


@functools.cache
def _default(made: Any, name: str) -> Any:
    field = next(field for field in dataclasses.fields(made) if field.name == name)
    return field.default_factory() if callable(field.default_factory) else field.default


def _environment(value: Environment) -> Any:
    if value.name is not None:
        return f"azureml:{value.name}" + (f":{value.version}" if value.version else "")
    found: dict[str, Any] = {"image": value.image, "conda_file": _conda(value), "build": _build(value.build)}
    if value.inference_config:
        found["inference_config"] = {key: plain(route) for key, route in value.inference_config.items()}
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
