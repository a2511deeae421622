"""What a batch job is given: an asset of this workspace, or files of this machine that become one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.data import places, tables
from jobs.files.ports import Scalar
from jobs.files.references import target
from serving import yaml_values
from workspace.assets import Asset
from workspace.documents import Document
from workspace.errors import Invalid
from workspace.home import Workspace

LITERAL_TYPES = ("string", "number", "integer", "boolean")
TYPES = ("uri_file", "uri_folder", "mltable")
_LONG = re.compile(r"azureml:/.*/data/(?P<name>[^/]+)/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One input: `path` is a file, a folder, a URL, a path of a datastore or `azureml:NAME:VERSION`.

    `value` is what is no file.
    """

    path: str = ""
    type: str = ""
    value: Scalar | None = None

    def __post_init__(self) -> None:
        if self.type not in ("", *TYPES):
            raise Invalid(f"an input cannot be of type {self.type!r}", hint=f"known: {', '.join(TYPES)}")

    @property
    def is_asset(self) -> bool:
        """Whether it names what the workspace keeps, and nothing else of this machine."""
        return self.path.startswith("azureml:") and ("://" not in self.path or bool(_LONG.fullmatch(self.path)))


def read(document: Document) -> dict[str, Given]:
    """Return the inputs that a file names under `inputs`, as `az ml batch-endpoint invoke -f` takes them."""
    document.refuse_unknown(("$schema", "inputs"))
    found = {}
    for name, value in yaml_values.mapping(document, "inputs").items():
        if not isinstance(value, dict):
            found[name] = Given(value=value)
            continue
        document.refuse_unknown(("type", "path", "mode", "value"), "inputs", name)
        path = yaml_values.text(document, "inputs", name, "path")
        kind = yaml_values.text(document, "inputs", name, "type")
        if path and not path.startswith("azureml:") and "://" not in path:
            path = str((document.path.parent / path.removeprefix("file:")).resolve())
        plain = kind.lower() in LITERAL_TYPES
        found[name] = Given(path=path, type="" if plain else kind.lower(), value=_literal(value.get("value")))
    return found


def data(workspace: Workspace, *, endpoint: str, given: Given) -> Asset:
    """Return the data asset that an input means: files from anywhere become one, and a table becomes its files."""
    asset = _named(workspace, given.path) if given.is_asset else None
    kind = given.type or (str(asset.properties.get("type", "")) if asset else "")
    if asset is not None and kind != "mltable" and places.URI not in asset.properties:
        return asset
    place = places.content(workspace, asset) if asset else _place(workspace, given)
    if kind == "uri_file" and not place.is_file():
        raise Invalid(f"{given.path!r} is a folder", hint="--input-type uri_folder")
    if kind == "uri_folder" and not place.is_dir():
        raise Invalid(f"{given.path!r} is a file", hint="--input-type uri_file")
    is_table = kind == "mltable" and tables.file_in(place) is not None
    called = asset.name if asset else place.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{endpoint}-{called}")
    return workspace.assets.put("data", name, tables.evaluated(workspace, place) if is_table else place)


def _named(workspace: Workspace, path: str) -> Asset:
    if match := _LONG.fullmatch(path):
        label = match["label"]
        path = f"{match['name']}@{label}" if label else f"{match['name']}:{match['version']}"
    return workspace.assets.get("data", path)


def _place(workspace: Workspace, given: Given) -> Path:
    if "://" in given.path:
        return places.find(workspace, target(given.path, Path.cwd()), folder=Path.cwd())
    path = Path(given.path).expanduser()
    if not given.path or not path.exists():
        raise Invalid(
            f"no file or folder at {given.path!r}", hint="or name data of the workspace: azureml:NAME:VERSION"
        )
    return path.resolve()


def _literal(value: Any) -> Scalar | None:
    return value if isinstance(value, Scalar) else None
