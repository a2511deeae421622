"""Frozen dataclasses are the tables of keys: their fields say what a file may hold, and how an editor is told."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, get_args, get_origin

from jobs.files.reading import Origin, Place
from jobs.files.shapes import (
    Anything,
    Case,
    Choice,
    Definitions,
    Either,
    Flag,
    Many,
    Named,
    Number,
    Schema,
    Shape,
    Text,
    Whole,
    named,
)  # fmt: skip
from workspace.errors import did_you_mean


class Mark(Enum):
    """What an annotation adds to a field."""

    NULLABLE = auto()  # the key may be there without a value
    OPEN = auto()  # Azure ML takes keys of this mapping that it does not know: we warn and go on
    CAMEL = auto()  # the word may be written in CamelCase
    EXACT = auto()  # the word is written exactly so
    SETTLED = auto()  # no expression may stand here, also not inside a pipeline
    HIDDEN = auto()  # no key of files: code sets it
    OURS = auto()  # Azure ML's package refuses the key, we read it


@dataclass(frozen=True, slots=True)
class NoEffect:
    """The field is read and kept, and does nothing on this machine; `why` is the line that says so."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a mapping: the shape of its value, and what is said about it."""

    name: str
    shape: Shape
    required: bool
    default: Any = None
    nullable: bool = False
    settled: bool = False
    ours: bool = False
    about: str = ""
    no_effect: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with known keys, which becomes a dataclass.

    A class may say `ignored`, keys that only the service writes; `open`, that unknown keys are let through with a
    warning; and `settle(place, written)`, which looks at all of them together and may return something else instead.
    """

    made: Any
    open: bool = False

    def read(self, place: Place, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping, not {named(value)}")
        keys = keys_of(self.made)
        self._refuse_unknown(place, value, keys)
        found: dict[str, Any] = {}
        for key in keys.values():
            if key.name in value:
                found[key.name] = _value(place, key, value[key.name])
            elif key.required:
                raise place.refused(_missing(place, key.name))
        if has_origin(self.made):
            found["origin"] = Origin(place.reading.document, place.steps)
        made = self.made(**found)
        settle = getattr(made, "settle", None)
        return settle(place, value) if settle else made

    def schema(self, definitions: Definitions) -> Schema:
        name = f"{self.made.__module__.rpartition('.')[2]}.{self.made.__name__}"
        if name not in definitions:
            definitions[name] = {}  # a class may hold itself
            definitions[name] = self._schema(definitions)
        return {"$ref": f"#/$defs/{name}"}

    def _schema(self, definitions: Definitions) -> Schema:
        keys = keys_of(self.made)
        properties = {key.name: _described(key, definitions) for key in keys.values()}
        ignored = {key: {"description": "Written by the service; not read."} for key in self._ignored()}
        required = [key.name for key in keys.values() if key.required]
        return {
            "type": "object",
            "description": _first_line(self.made),
            "properties": ignored | properties,
            **({"required": required} if required else {}),
            **({} if self._is_open() else {"additionalProperties": False}),
        }

    def _refuse_unknown(self, place: Place, value: Mapping[Any, Any], keys: Mapping[str, Key]) -> None:
        ignored = self._ignored()
        for key in value:
            if key in keys or (key in ignored and value[key] is not None):
                continue
            hint = did_you_mean(str(key), {*keys, *ignored})
            if not self._is_open():
                raise place.under(key).refused(f"unknown key {key!r}", hint=hint)
            place.under(key).warn("unknown-key", f"unknown key {key!r} is not read", hint=hint)

    def _ignored(self) -> tuple[str, ...]:
        return getattr(self.made, "ignored", ())

    def _is_open(self) -> bool:
        return self.open or getattr(self.made, "open", False)


@dataclass(frozen=True, slots=True)
class Late:
    """A shape that is imported when it is needed: who reads a command job imports nothing of pipelines.

    `where` names a dataclass or a shape: `Late("jobs.files.sweep:SweepJob")`.
    """

    where: str
    open: bool = False

    def read(self, place: Place, value: Any) -> Any:
        return self.found().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return self.found().schema(definitions)

    def found(self) -> Shape:
        """Return the shape."""
        module, _, name = self.where.partition(":")
        found: Any = getattr(importlib.import_module(module), name)
        return Record(found, open=self.open) if isinstance(found, type) else found


@functools.cache
def keys_of(made: Any) -> dict[str, Key]:
    """Return the keys that a dataclass stands for, by name."""
    hints = typing.get_type_hints(made, include_extras=True)
    fields = [field for field in dataclasses.fields(made) if field.name != "origin"]
    keys = [_key(field, hints[field.name]) for field in fields if Mark.HIDDEN not in _marks(hints[field.name])]
    return {key.name: key for key in keys}


@functools.cache
def has_origin(made: Any) -> bool:
    """Return whether a dataclass remembers where it was written."""
    return any(field.name == "origin" for field in dataclasses.fields(made))


def shape_of(hint: Any, *marks: Any) -> Shape:
    """Return the shape that a type stands for.

    >>> shape_of(tuple[int, ...])
    Many(item=Whole(least=None, most=None), nullable=False)
    """
    if get_origin(hint) is typing.Annotated:
        return shape_of(hint.__origin__, *marks, *hint.__metadata__)
    for mark in marks:
        if not isinstance(mark, str | Mark | NoEffect):
            shape: Shape = mark
            return shape
    if simple := _SIMPLE.get(hint):
        return simple
    if dataclasses.is_dataclass(hint):
        return Record(hint, open=Mark.OPEN in marks)
    origin, inside = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        return Choice(tuple(map(str, inside)), _case(marks))
    if origin is tuple:
        return Many(shape_of(_present(inside[0])), nullable=_may_be_none(inside[0]))
    if origin is Mapping:
        return Named(shape_of(_present(inside[1])), nullable=_may_be_none(inside[1]), key=shape_of(inside[0]))
    if origin in (types.UnionType, typing.Union):
        options = [each for each in inside if each is not type(None)]
        return shape_of(options[0], *marks) if len(options) == 1 else Either(tuple(map(shape_of, options)))
    raise LookupError(f"no shape for {hint!r}")


_SIMPLE: Mapping[Any, Shape] = {str: Text(), int: Whole(), float: Number(), bool: Flag(), Any: Anything()}


def _key(field: dataclasses.Field[Any], hint: Any) -> Key:
    marks = _marks(hint)
    no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    shape = shape_of(hint)
    return Key(
        name=field.name,
        shape=shape,
        required=no_default,
        default=None if field.default is dataclasses.MISSING else field.default,
        nullable=Mark.NULLABLE in marks or isinstance(shape, Anything),
        settled=Mark.SETTLED in marks or field.name in ("type", "component", "trial"),
        ours=Mark.OURS in marks,
        about=next((mark for mark in marks if isinstance(mark, str)), ""),
        no_effect=next((mark.why for mark in marks if isinstance(mark, NoEffect)), ""),
    )


def _value(place: Place, key: Key, value: Any) -> Any:
    there = place.under(key.name)
    if key.settled:
        there = dataclasses.replace(there, bound="no")
    if key.ours:
        there.lenient("key-of-ours", f"Azure ML's package does not know `{key.name}` here")
    if value is None and key.nullable:
        return None
    if value is None:
        raise there.wrong("is empty", hint="leave the key out, or give it a value")
    found = key.shape.read(there, value)
    if key.no_effect:
        there.note("no-effect", f"`{key.name}` has no effect here: {key.no_effect}")
    return found


def _missing(place: Place, name: str) -> str:
    return f"`{name}` is needed" if not place.steps else f"`{'.'.join(map(str, place.steps[-2:]))}` needs `{name}`"


def _described(key: Key, definitions: Definitions) -> Schema:
    schema = key.shape.schema(definitions)
    if key.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    about = " ".join(part for part in (key.about, key.no_effect and f"Has no effect here: {key.no_effect}.") if part)
    default = {"default": key.default} if isinstance(key.default, str | int | float | bool) else {}
    return {**schema, **({"description": about} if about else {}), **default}


def _first_line(made: Any) -> str:
    return (made.__doc__ or "").split("\n\n", 1)[0].strip()


def _marks(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is typing.Annotated:
        return (*_marks(hint.__origin__), *hint.__metadata__)
    if get_origin(hint) in (types.UnionType, typing.Union) and _may_be_none(hint):
        return tuple(mark for each in get_args(hint) for mark in _marks(each))
    return ()


def _case(marks: tuple[Any, ...]) -> Case:
    return "camel" if Mark.CAMEL in marks else "exact" if Mark.EXACT in marks else "any"


def _may_be_none(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _present(hint: Any) -> Any:
    """Return the hint without None."""
    options = tuple(each for each in get_args(hint) if each is not type(None))
    return options[0] if _may_be_none(hint) and len(options) == 1 else hint
