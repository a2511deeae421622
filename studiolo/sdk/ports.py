"""What goes into a job and comes out of it: data, literals, and what is only known when another step has ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from studiolo.entities import Environment
from studiolo.sweep import POLICIES, SPACES

if TYPE_CHECKING:
    from studiolo.sdk.steps import Step

_LITERALS = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Data that a job reads, or what a step takes: `Input(type="uri_file", path="a.csv")`, `Input(type="number")`."""

    type: str = "uri_folder"
    path: str | Path | None = None
    mode: str | None = None
    default: str | int | float | bool | None = None
    optional: bool | None = None
    min: int | float | None = None
    max: int | float | None = None
    enum: list[Any] | None = None
    description: str | None = None

    @property
    def port(self) -> dict[str, Any]:
        """What a component says of it."""
        return {key: value for key, value in plain(dataclasses.asdict(self)).items() if key != "path"}

    @property
    def value(self) -> Any:
        """What a job is given: data by its path, or the literal it has by default."""
        if self.path is None:
            return self.default
        return plain({"type": self.type, "path": str(self.path), "mode": self.mode})


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a job writes; with a `name` it becomes an asset of that name."""

    type: str = "uri_folder"
    path: str | Path | None = None
    mode: str | None = None
    name: str | None = None
    version: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class InputOf:
    """An input of the pipeline that is being put together."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"${{{{parent.inputs.{self.name}}}}}"


class OutputOf:
    """An output of a step: given to another step it is the wire between them; `mode`, `path`, `name` can be set."""

    def __init__(self, step: Step, name: str, said: dict[str, Any]) -> None:
        self.__dict__.update(_step=step, _name=name, _said=said)

    @property
    def step(self) -> Step:
        """Whose output it is."""
        found: Step = self.__dict__["_step"]
        return found

    @property
    def port(self) -> str:
        """What the step calls it."""
        return str(self.__dict__["_name"])

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["_said"].get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["_said"][name] = value

    def __str__(self) -> str:
        return f"${{{{parent.jobs.{self.step.key}.outputs.{self.port}}}}}"


def kind_of(value: Any) -> str:
    """Return the type of the port that a value fits: `kind_of(0.1) == "number"`."""
    if isinstance(value, Input | InputOf):
        return value.type
    if isinstance(value, OutputOf):
        return str(value.type or "uri_folder")
    return _LITERALS.get(type(value), "string")


def plain(value: Any) -> Any:
    """Return what a file would say; what is None is not said."""
    if isinstance(value, InputOf | OutputOf | Path):
        return str(value)
    if isinstance(value, Input):
        return value.value
    if isinstance(value, (*SPACES, *POLICIES)):
        return plain({"type": value.type} | dataclasses.asdict(value))
    if isinstance(value, Output):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Environment):  # a job says it in place, without a name
        return plain({key: getattr(value, key) for key in ("image", "conda_file", "build")})
    if isinstance(value, SimpleNamespace):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
