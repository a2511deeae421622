"""What a sweep searches: values to choose from, and distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.shapes import ByKind, Definitions, Many, Named, Number, Schema, named

Option = int | float | str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A whole number as such, any other number as a float."""

    def read(self, place: Place, value: Any) -> int | float | str:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return Number().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return Number().schema(definitions)


@dataclass(frozen=True, slots=True)
class OptionShape:
    """A value to choose: a literal, or a mapping of literals and further spaces."""

    def read(self, place: Place, value: Any) -> Option:
        if isinstance(value, Mapping):
            inside: Mapping[str, Any] = Named(_Inside()).read(place, value)
            return inside
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            place.lenient("truth-in-choice", "a choice of true and false", hint="write 'true', in quotes, or 1")
            return value
        if isinstance(value, int | float):
            return Numeric().read(place, value)
        raise place.wrong(f"must be a literal or a mapping, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["number", "string", "object", "boolean"]}


@dataclass(frozen=True, slots=True)
class _Inside:
    """What stands in a mapping to choose: a further space, or a literal."""

    def read(self, place: Place, value: Any) -> Any:
        if isinstance(value, Mapping):
            return SPACE.read(place, value)
        return value if isinstance(value, str) else Numeric().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["number", "string", "object"]}


NumericField = Annotated[float | int, Numeric()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One of some values."""

    type: Literal["choice"]
    values: Annotated[tuple[Option, ...], Many(OptionShape()), "What to choose from."] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Any number between two, each as likely; of loguniform the logarithm is so, and the ends are logarithms."""

    type: Literal["uniform", "loguniform"]
    min_value: NumericField
    max_value: NumericField


@dataclass(frozen=True, slots=True, kw_only=True)
class QUniform:
    """As uniform, in steps of `q`."""

    type: Literal["quniform", "qloguniform"]
    min_value: NumericField
    max_value: NumericField
    q: NumericField


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """A number near `mu`; of lognormal the logarithm is so."""

    type: Literal["normal", "lognormal"]
    mu: NumericField
    sigma: NumericField


@dataclass(frozen=True, slots=True, kw_only=True)
class QNormal:
    """As normal, in steps of `q`."""

    type: Literal["qnormal", "qlognormal"]
    mu: NumericField
    sigma: NumericField
    q: NumericField


@dataclass(frozen=True, slots=True, kw_only=True)
class RandInt:
    """A whole number from 0, below `upper`."""

    type: Literal["randint"]
    upper: int


Space = Values | Uniform | QUniform | Normal | QNormal | RandInt

SPACE = ByKind(
    {
        "choice": Record(Values),
        "uniform": Record(Uniform),
        "loguniform": Record(Uniform),
        "quniform": Record(QUniform),
        "qloguniform": Record(QUniform),
        "normal": Record(Normal),
        "lognormal": Record(Normal),
        "qnormal": Record(QNormal),
        "qlognormal": Record(QNormal),
        "randint": Record(RandInt),
    }
)
SearchSpace = Annotated[Mapping[str, Space], Named(SPACE), "What is searched, by name."]
