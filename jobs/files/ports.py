"""What goes into a job and what comes out: literals, data and models; and the ports that components declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from jobs.files.expressions import EXPRESSION, render
from jobs.files.reading import Place
from jobs.files.record import Mark, NoEffect, Record, keys_of
from jobs.files.references import Target, target
from jobs.files.shapes import (
    Choice,
    Definitions,
    Either,
    Flag,
    Named,
    Number,
    Schema,
    Text,
    Version,
    is_bound,
    named,
)  # fmt: skip

Scalar = str | int | float | bool

DataType = Literal["uri_file", "uri_folder", "mltable", "custom_model", "mlflow_model", "triton_model"]
DATA: tuple[str, ...] = get_args(DataType)
MODELS = ("custom_model", "mlflow_model", "triton_model")
Primitive = Literal["string", "number", "integer", "boolean"]
PRIMITIVES: tuple[str, ...] = get_args(Primitive)
InputMode = Literal["ro_mount", "download", "direct", "eval_mount", "eval_download"]
OutputMode = Literal["rw_mount", "mount", "upload", "direct"]
PortMode = Literal[
    "ro_mount", "rw_mount", "mount", "download", "upload", "direct", "eval_mount", "eval_download", "link"
]
PORT_MODES: tuple[str, ...] = get_args(PortMode)
RESERVED = ("path", "ld_library_path", "user", "logname", "home", "pwd", "shell")
_ASSET_NAME = re.compile(r"[A-Za-z0-9_-]{0,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Data or a model that a job reads. A local `path` is absolute; others are as they were written."""

    type: Annotated[DataType, "What it is."] = "uri_folder"
    path: Annotated[str, "Where it is: a path, a URL, azureml:name:version, azureml://datastores/…"] = ""
    mode: Annotated[InputMode | None, "How the script gets it: the original, a copy, or its URI."] = None
    datastore: Annotated[str | None, NoEffect("local data is not uploaded")] = None
    path_on_compute: Annotated[str | None, Mark.OURS, NoEffect("data lies where the command is told")] = None
    description: Annotated[str, Mark.OURS, "What it is for."] = ""
    optional: Annotated[bool, Mark.OURS] = False

    def settle(self, place: Place, written: Mapping[str, Any]) -> Input:
        evaluated = self.mode in ("eval_mount", "eval_download")
        if evaluated and self.type != "mltable" and "type" in written:
            raise place.under("mode").wrong(f"is for type mltable, not {self.type}")
        # What an MLTable file says is evaluated: who asks for that means a table.
        return (replace(self, type="mltable") if evaluated else self)._found(place)

    def target(self, folder: Path) -> Target:
        """Return what the path means."""
        return target(self.path, folder)

    def _found(self, place: Place) -> Input:
        if not self.path or EXPRESSION.search(self.path):
            return self
        where = target(self.path, place.folder)
        if not isinstance(where, Path):
            return self
        if not where.exists():
            hint = "paths are relative to the folder of the file"
            place.under("path").object("missing-data", f"no file or folder at {self.path!r}", hint=hint)
        return replace(self, path=str(where))


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file or folder that a job writes. With a `name` it becomes an asset of that name."""

    name: Annotated[str | None, "The asset that it becomes."] = None
    version: Annotated[str | None, Version(), "The version of that asset."] = None
    mode: Annotated[OutputMode | None, "How it leaves the job."] = None
    type: Annotated[DataType, "What it is."] = "uri_folder"
    path: Annotated[str | None, "Where it goes, instead of into the workspace."] = None
    description: Annotated[str, Mark.OURS, "What it is for."] = ""

    def settle(self, place: Place, _: Mapping[str, Any]) -> Output:
        if self.name and not _ASSET_NAME.fullmatch(self.name) and not is_bound(place, self.name):
            raise place.under("name").wrong(f"has letters, digits, '-' and '_' only, unlike {self.name!r}")
        if self.version and not self.name:
            raise place.under("version").refused("an output with a version needs a `name`")
        return self


Value = Scalar | Input


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPort:
    """What a component takes: a literal with limits, or data. `default`, `min` and `max` are of the port's type."""

    type: Annotated[Primitive | DataType | Literal["path"], Choice((*PRIMITIVES, *DATA, "path"), "exact")]
    optional: Annotated[bool, "Whether it may be left out."] = False
    default: Annotated[Scalar | None, Either((Text(), Number(), Flag())), "What it is where nothing is given."] = None
    description: Annotated[str, "What it is for."] = ""
    max: Annotated[Scalar | None, Either((Text(), Number()))] = None
    min: Annotated[Scalar | None, Either((Text(), Number()))] = None
    enum: Annotated[tuple[str, ...], "The only values it may have."] = ()
    mode: Annotated[PortMode | None, Choice(PORT_MODES, "exact"), "How the script gets it."] = None
    intellectual_property: Annotated[Mapping[str, str] | None, NoEffect("nothing is protected on this machine")] = None

    @property
    def is_primitive(self) -> bool:
        """Whether it takes a literal."""
        return self.type in PRIMITIVES

    @property
    def is_needed(self) -> bool:
        """Whether something must be given."""
        return not self.optional and self.default is None

    def settle(self, place: Place, written: Mapping[str, Any]) -> InputPort:
        alien = ("mode", "intellectual_property") if self.is_primitive else ("default", "min", "max", "enum")
        if self.type in ("string", "boolean"):
            alien = (*alien, "min", "max")
        for key in alien:
            if key in written:
                raise place.under(key).refused(f"an input of type {self.type} has no `{key}`")
        if not self.is_primitive:
            return self
        default, least, most = (
            None if value is None else typed(place.under(key), self.type, value)
            for key, value in (("default", self.default), ("min", self.min), ("max", self.max))
        )
        port = replace(self, default=default, min=least, max=most)
        port._check_default(place)
        return port

    def _check_default(self, place: Place) -> None:
        if self.default is None:
            return
        if problem := self.problem(self.default):
            place.under("default").object("default-out-of-range", f"the default {problem}")

    def problem(self, value: Scalar) -> str | None:
        """Return why a literal of the right type cannot be given to this port, or None."""
        if self.enum and render(value) not in self.enum:
            return f"{value!r} is none of {', '.join(self.enum)}"
        if isinstance(value, int | float) and isinstance(self.min, int | float) and value < self.min:
            return f"{value!r} is below the least, {self.min}"
        if isinstance(value, int | float) and isinstance(self.max, int | float) and value > self.max:
            return f"{value!r} is above the most, {self.max}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPort:
    """What a component gives, by type. Azure ML takes further keys of literals, and none of data."""

    open: ClassVar[bool] = True

    type: Annotated[Primitive | DataType | Literal["path"], Choice((*PRIMITIVES, *DATA, "path"), "exact")]
    description: Annotated[str, "What it is for."] = ""
    mode: Annotated[PortMode | None, Choice(PORT_MODES, "exact"), "How it leaves the job."] = None
    is_control: Annotated[bool, NoEffect("any literal that a step gives may decide how a pipeline goes on")] = False
    early_available: Annotated[bool, NoEffect("outputs are there when the job has ended")] = False
    intellectual_property: Annotated[Mapping[str, str] | None, NoEffect("nothing is protected on this machine")] = None

    @property
    def is_primitive(self) -> bool:
        """Whether it gives a literal."""
        return self.type in PRIMITIVES

    def settle(self, place: Place, written: Mapping[str, Any]) -> OutputPort:
        alien = () if self.is_primitive else (set(written) - set(keys_of(OutputPort))) | {"is_control"}
        for key in written:
            if key in alien:
                raise place.under(key).refused(f"an output of type {self.type} has no `{key}`")
        return self


@dataclass(frozen=True, slots=True)
class InputValue:
    """The value of an input: a literal, as it is or as `value`, or an Input."""

    def read(self, place: Place, value: Any) -> Value:
        if isinstance(value, str | bool | int):
            return value
        if isinstance(value, float):
            Number().read(place, value)
            return value
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a literal or a mapping with `path`, not {named(value)}")
        if "type" in value and str(value["type"]) in PRIMITIVES:
            return self._typed(place, value)
        if "value" in value and len(value) == 1:
            return self._literal(place.under("value"), value["value"])
        made: Input = Record(Input).read(place, value)
        return made

    def schema(self, definitions: Definitions) -> Schema:
        literal = {"type": ["string", "number", "boolean"]}
        wrapped = {"type": "object", "properties": {"value": literal}, "required": ["value"]}
        return {"anyOf": [literal, wrapped, Record(Input).schema(definitions), Record(InputPort).schema(definitions)]}

    def _literal(self, place: Place, value: Any) -> Scalar:
        if isinstance(value, str | bool | int | float):
            return value
        raise place.wrong(f"must be a literal, not {named(value)}")

    def _typed(self, place: Place, value: Mapping[str, Any]) -> Scalar:
        place.lenient("typed-input", "Azure ML's package takes a type with a component's input only, not with a job's")
        given = {key: each for key, each in value.items() if key != "value"}
        port: InputPort = Record(InputPort).read(place, given)
        found = typed(place.under("value"), port.type, value["value"]) if "value" in value else port.default
        if found is None:
            raise place.wrong("needs `value` or `default`")
        return found


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs by name. One without anything is a folder."""

    def read(self, place: Place, value: Any) -> dict[str, Output]:
        found = Named(Record(Output), nullable=True).read(place, value)
        return {name: output or Output() for name, output in found.items()}

    def schema(self, definitions: Definitions) -> Schema:
        return Named(Record(Output), nullable=True).schema(definitions)


def typed(place: Place, kind: str, value: Scalar) -> Scalar:
    """Return a literal as the type of a port has it, or refuse it.

    >>> typed(place, "integer", "10.0")
    10
    """
    try:
        if kind == "integer":
            return int(float(value)) if not isinstance(value, bool) else int(value)
        if kind == "number":
            return float(value)
    except (ValueError, OverflowError):
        raise place.wrong(f"must be of type {kind}, not {value!r}") from None
    if kind == "boolean" and not isinstance(value, bool):
        if str(value).lower() not in ("true", "false"):
            raise place.wrong(f"must be true or false, not {value!r}")
        return str(value).lower() == "true"
    return render(value) if kind == "string" else value


INPUTS = Named(InputValue())
Inputs = Annotated[Mapping[str, Value], INPUTS, "What goes in, by name."]
OutputsByName = Annotated[Mapping[str, Output], Outputs(), "What comes out, by name."]
