"""Hyperparameters of AutoML that may be searched: a value, or a space of values of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.search_space import SPACE, RandInt, Values
from jobs.files.shapes import ByKind, Choice, Definitions, Either, Flag, Many, Number, Schema, Shape, Text, named


@dataclass(frozen=True, slots=True)
class WholeAlone:
    """A whole number, not written as text."""

    def read(self, place: Place, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise place.wrong(f"must be a whole number, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "integer"}


@dataclass(frozen=True, slots=True)
class ValuesOf:
    """A choice whose values are all of one kind."""

    item: Shape

    def read(self, place: Place, value: Any) -> Values:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping with `type`, not {named(value)}")
        Record(Values).read(place, {**value, "values": []})
        listed = value.get("values", [])
        return Values(type="choice", values=Many(self.item).read(place.under("values"), listed))

    def schema(self, definitions: Definitions) -> Schema:
        return Record(Values).schema(definitions)


@dataclass(frozen=True, slots=True)
class Searched:
    """A value, a choice of such values, or one of some spaces."""

    value: Shape
    spaces: Mapping[str, Shape]

    def read(self, place: Place, value: Any) -> Any:
        return self._shape().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return self._shape().schema(definitions)

    def _shape(self) -> Shape:
        return Either((self.value, ByKind({"choice": ValuesOf(self.value), **self.spaces})))


_REALS = {kind: shape for kind, shape in SPACE.kinds.items() if kind != "choice"}
_STEPS = {kind: shape for kind, shape in SPACE.kinds.items() if kind.startswith("q")}

REAL = Searched(Number(), _REALS)
WHOLE = Searched(WholeAlone(), {"randint": Record(RandInt)})
WHOLE_STEPS = Searched(WholeAlone(), {"randint": Record(RandInt), **_STEPS})
TEXT = Searched(Text(), {})
TRUTH = Searched(Flag(), {})


def words(*known: str) -> Searched:
    """Return the shape of one of some words, or a choice of them."""
    return Searched(Choice(known, "camel"), {})
