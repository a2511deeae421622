"""What can be registered, in Python: `Client().data.create_or_update(Data(name="rows", path="rows.csv"))`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Data by name and version."""

    name: str
    path: str | Path
    type: str = "uri_folder"
    version: str | None = None
    description: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model by name and version."""

    name: str
    path: str | Path
    type: str = "custom_model"
    version: str | None = None
    description: str | None = None
    tags: Mapping[str, str] | None = None
    stage: str | None = None
    properties: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What jobs run in: an image, Python and packages as conda says it, or a folder to build."""

    name: str
    image: str | None = None
    conda_file: str | Path | Mapping[str, Any] | None = None
    build: Mapping[str, str] | None = None
    version: str | None = None
    description: str | None = None
    tags: Mapping[str, str] | None = None
