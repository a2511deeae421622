"""What an environment file asks for: a curated name, an image, packages in conda's words, or an image to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.errors import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A folder with a Dockerfile."""

    path: Path
    dockerfile: str = "Dockerfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a container that serves a model answers."""

    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a job's Python holds. `conda` is the content of a conda file, or of `conda_file` written in place.

    A requirements.txt is a conda file of one line: `Environment.of_requirements(path)`.
    """

    name: str | None = None  # without `azureml:` and without its version
    version: str | None = None
    image: str | None = None
    conda: Mapping[str, Any] | None = None
    build: Build | None = None
    folder: Path = field(default_factory=Path)  # where relative paths inside the conda file start
    inference_config: Mapping[str, Route] = field(
        default_factory=dict
    )  # by liveness_route, readiness_route, scoring_route
    variables: Mapping[str, str] = field(default_factory=dict)
    at: Location | None = None  # where it was written, for messages

    @classmethod
    def of_requirements(cls, path: Path, *, python: str | None = None) -> Environment:
        """Return the environment of a requirements.txt."""
        listed: list[Any] = [f"python={python}"] if python else []
        return cls(conda={"dependencies": [*listed, {"pip": [f"-r {path.name}"]}]}, folder=path.parent)
