"""The shapes that values in files have, as Azure ML CLI v2 reads them: text, numbers, words, lists, mappings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from jobs.files.expressions import EXPRESSION
from jobs.files.reading import Place, Refused
from workspace.errors import did_you_mean

Schema = dict[str, Any]
Definitions = dict[str, Schema]  # of a schema: `$defs`

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")
# How a word may be written: in any case, also in CamelCase, or exactly so.
Case = Literal["any", "camel", "exact"]


class Shape(Protocol):
    """What one value may be: `read` returns it as we keep it or refuses it, `schema` tells an editor."""

    def read(self, place: Place, value: Any) -> Any:
        """Return the value as we keep it, or raise Refused."""

    def schema(self, definitions: Definitions) -> Schema:
        """Return the JSON Schema; what is named goes into `definitions`."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value at all, null too."""

    def read(self, place: Place, value: Any) -> Any:  # noqa: ARG002
        return value

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {}


@dataclass(frozen=True, slots=True)
class Text:
    """A text. Numbers are written out, as B0 of the contract has it, where Azure ML's package refuses them."""

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            place.lenient(
                "number-for-text", f"{value!r} stands where text is meant", hint=f"write '{value}', in quotes"
            )
            return str(value)
        raise place.wrong(f"must be text, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["string", "number", "boolean"]}


@dataclass(frozen=True, slots=True)
class Version:
    """A version: text, or a number that is text from here on."""

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str | int | float):
            return str(value)
        raise place.wrong(f"must be text or a number, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["string", "number"]}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, which may be written as text."""

    least: int | None = None
    most: int | None = None

    def read(self, place: Place, value: Any) -> int | str:
        if is_bound(place, value):
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise place.wrong(f"must be a whole number, not {named(value)}")
        try:
            found = int(value)
        except (ValueError, OverflowError):
            raise place.wrong(f"must be a whole number, not {value!r}") from None
        if isinstance(value, float) and found != value:
            place.object("fraction", f"must be a whole number, not {value!r}")
        if self.least is not None and found < self.least:
            raise place.wrong(f"must be at least {self.least}, not {found}")
        if self.most is not None and found > self.most:
            raise place.wrong(f"must be at most {self.most}, not {found}")
        return found

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        limits = {"minimum": self.least, "maximum": self.most}
        return {
            "type": ["integer", "string"],
            "pattern": r"^\s*([+-]?[\d_]+\s*$|\$\{\{)",
            **{key: limit for key, limit in limits.items() if limit is not None},
        }


@dataclass(frozen=True, slots=True)
class Bound:
    """A whole number, or an expression that stands for one wherever it is written."""

    def read(self, place: Place, value: Any) -> int | str:
        return Whole().read(replace(place, bound="yes"), value)

    def schema(self, definitions: Definitions) -> Schema:
        return Whole().schema(definitions)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time in seconds. Azure ML cuts fractions off; here they count."""

    def read(self, place: Place, value: Any) -> float | str:
        if isinstance(value, float) and math.isfinite(value):
            return value
        found = Whole().read(place, value)
        return found if isinstance(found, str) else float(found)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["number", "string"]}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, which may be written as text."""

    def read(self, place: Place, value: Any) -> float | str:
        if is_bound(place, value):
            return str(value)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise place.wrong(f"must be a number, not {named(value)}")
        try:
            found = float(value)
        except (ValueError, OverflowError):
            raise place.wrong(f"must be a number, not {value!r}") from None
        if not math.isfinite(found):
            raise place.wrong(f"must be a finite number, not {value!r}")
        return found

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": ["number", "string"]}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false, in any of the ways in which people write that."""

    def read(self, place: Place, value: Any) -> bool | str:
        if is_bound(place, value):
            return str(value)
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value in _written_so(TRUE):
            return True
        if isinstance(value, str) and value in _written_so(FALSE):
            return False
        raise place.wrong(f"must be true or false, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"anyOf": [{"type": "boolean"}, {"type": ["string", "integer"]}]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]
    case: Case = "any"

    def read(self, place: Place, value: Any) -> str:
        if is_bound(place, value):
            return str(value)
        if isinstance(value, str):
            for word in self.words:
                if value == word or (self.case != "exact" and self._alike(value, word)):
                    return word
            for word in self.words:
                if value.lower().replace("_", "") == word.lower().replace("_", ""):
                    place.lenient("case", f"{value!r} is written {word!r}")
                    return word
        hint = did_you_mean(str(value), self.words)
        # Azure ML's package lets expressions through where nothing fills them in.
        rule = "undeclared" if isinstance(value, str) and EXPRESSION.search(value) else ""
        raise place.wrong(f"cannot be {named(value)}", hint=hint, rule=rule)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"enum": list(self.words)}

    def _alike(self, value: str, word: str) -> bool:
        return (snake(value) if self.case == "camel" else value.lower()) == word.lower()


@dataclass(frozen=True, slots=True)
class Many:
    """A list; it becomes a tuple."""

    item: Shape
    nullable: bool = False

    def read(self, place: Place, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise place.wrong(f"must be a list, not {named(value)}")
        return tuple(
            None if each is None and self.nullable else _given(place.under(index), each, self.item)
            for index, each in enumerate(value)
        )

    def schema(self, definitions: Definitions) -> Schema:
        return {"type": "array", "items": _or_null(self.item.schema(definitions), self.nullable)}


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping whose keys the author chooses."""

    value: Shape
    nullable: bool = False
    key: Shape = Text()

    def read(self, place: Place, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping of names, not {named(value)}")
        return {
            self.key.read(place.under(key), key): (
                None if each is None and self.nullable else _given(place.under(key), each, self.value)
            )
            for key, each in value.items()
        }

    def schema(self, definitions: Definitions) -> Schema:
        return {"type": "object", "additionalProperties": _or_null(self.value.schema(definitions), self.nullable)}


@dataclass(frozen=True, slots=True)
class Either:
    """What the first shape that fits makes of it. `expected` says what would have fitted."""

    shapes: tuple[Shape, ...]
    expected: str = ""

    def read(self, place: Place, value: Any) -> Any:
        if is_bound(place, value):
            return value
        # A file that Azure ML would take is read as it would take it, so we look for a reading without warnings first.
        found: list[tuple[int, Any, list[Any]]] = []
        problems: list[Refused] = []
        findings = place.reading.findings
        before = len(findings)
        for shape in self.shapes:
            try:
                made = shape.read(place, value)
            except Refused as problem:
                problems.append(problem)
            else:
                said = findings[before:]
                found.append((sum(each.weight != "note" for each in said), made, said))
                if found[-1][0] == 0:
                    return made
            del findings[before:]
        if found:
            _, made, said = min(found, key=lambda each: each[0])
            findings += said
            return made
        raise self._problem(place, value, problems)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [shape.schema(definitions) for shape in self.shapes]}

    def _problem(self, place: Place, value: Any, problems: list[Refused]) -> Refused:
        deepest = max(problems, key=lambda problem: problem.depth)
        if deepest.depth > len(place.steps) or not self.expected:
            return deepest
        return place.wrong(f"must be {self.expected}, not {named(value)}", hint=deepest.hint)


@dataclass(frozen=True, slots=True)
class ByKind:
    """A mapping that says in `key` what it is. `otherwise` is its kind where it does not say."""

    kinds: Mapping[str, Shape]
    key: str = "type"
    case: Case = "any"
    otherwise: str | None = None

    def read(self, place: Place, value: Any) -> Any:
        if is_bound(place, value):
            return value
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a mapping with `{self.key}`, not {named(value)}")
        kind = value.get(self.key, self.otherwise)
        if kind is None:
            hint = f"one of {', '.join(self.kinds)}"
            raise place.wrong(f"needs `{self.key}`", hint=hint)
        word = Choice(tuple(self.kinds), self.case).read(place.under(self.key), kind)
        return self.kinds[word].read(place, value)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [shape.schema(definitions) for shape in self.kinds.values()]}


def is_bound(place: Place, value: Any) -> bool:
    """Return whether an expression stands here for a value that is known later."""
    if place.bound == "no" or not isinstance(value, str) or EXPRESSION.search(value) is None:
        return False
    if place.bound == "warned":
        place.lenient("bound-in-place", f"Azure ML takes no expression here in a job written in place, as {value!r}")
    return True


def named(value: object) -> str:
    """Return how a message calls a value."""
    return {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value), repr(value)[:100])


def snake(word: str) -> str:
    """Return CamelCase as snake_case, as Azure ML's package does it.

    >>> snake("MedianStopping")
    'median_stopping'
    """
    parted = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", word)
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def _given(place: Place, value: Any, shape: Shape) -> Any:
    if value is None and not isinstance(shape, Anything):
        raise place.wrong("is empty", hint="leave the key out, or give it a value")
    return shape.read(place, value)


def _or_null(schema: Schema, nullable: bool) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]} if nullable else schema


def _written_so(words: tuple[str, ...]) -> set[str]:
    return {form for word in words for form in (word, word.upper(), word.capitalize())}
