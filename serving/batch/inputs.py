"""What a batch job is given: an asset of this workspace, or files of this machine that become one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.files.ports import Scalar
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
    """One input: `path` is a file, a folder or `azureml:NAME:VERSION`; `value` is what is no file."""

    path: str = ""
    type: str = ""
    value: Scalar | None = None

    def __post_init__(self) -> None:
        if self.type == "mltable":
            raise Invalid("an mltable cannot be read yet", hint="give its folder as uri_folder")
        if self.type not in ("", *TYPES):
            raise Invalid(f"an input cannot be of type {self.type!r}", hint=f"known: {', '.join(TYPES)}")

    @property
    def is_asset(self) -> bool:
        """Whether it names what the workspace keeps, and nothing else of this machine."""
        return self.path.startswith("azureml:")


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
    """Return the data asset that an input means; files of this machine become one."""
    if match := _LONG.fullmatch(given.path):
        label = match["label"]
        return workspace.assets.get(
            "data", f"{match['name']}@{label}" if label else f"{match['name']}:{match['version']}"
        )
    if "://" in given.path:
        raise Invalid(
            f"the input {given.path!r} is not on this machine", hint="give a file, a folder or azureml:NAME:1"
        )
    if given.is_asset:
        return workspace.assets.get("data", given.path)
    path = Path(given.path).expanduser()
    if not given.path or not path.exists():
        raise Invalid(
            f"no file or folder at {given.path!r}", hint="or name data of the workspace: azureml:NAME:VERSION"
        )
    if given.type == "uri_file" and not path.is_file():
        raise Invalid(f"{given.path!r} is a folder", hint="--input-type uri_folder")
    if given.type == "uri_folder" and not path.is_dir():
        raise Invalid(f"{given.path!r} is a file", hint="--input-type uri_file")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{endpoint}-{path.resolve().stem}")
    return workspace.assets.put("data", name, path.resolve())


def _literal(value: Any) -> Scalar | None:
    return value if isinstance(value, Scalar) else None
