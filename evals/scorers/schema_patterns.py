"""The patterns of JSON schemas, matched in bounded time, as those of the `regex` scorer are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import ValidationError
from jsonschema.validators import extend

from evals.scorers.patterns import compiled


def in_bounded_time(kind: Any, seconds: float) -> Any:
    """Return a validator that is `kind` but for its patterns: one that takes longer for a text raises TimeoutError."""
    plain_others = kind.VALIDATORS.get("additionalProperties")

    def fits(pattern: str, text: str) -> bool:
        return compiled(pattern).search(text, seconds=seconds) is not None

    def pattern(validator: Any, wanted: str, value: Any, _: Any) -> Iterator[ValidationError]:
        if validator.is_type(value, "string") and not fits(wanted, value):
            yield ValidationError(f"{value!r} does not match {wanted!r}")

    def named(validator: Any, wanted: Mapping[str, Any], value: Any, _: Any) -> Iterator[ValidationError]:
        if validator.is_type(value, "object"):
            for each, schema in wanted.items():
                for name in (name for name in value if fits(each, name)):
                    yield from validator.descend(value[name], schema, path=name, schema_path=each)

    def others(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        if validator.is_type(value, "object"):  # without those that a pattern tells of
            left = {name: of for name, of in value.items() if not any(fits(each, name) for each in _patterns(schema))}
            without = {key: part for key, part in schema.items() if key != "patternProperties"}
            yield from plain_others(validator, wanted, left, without) or ()

    keywords: dict[str, Any] = {"pattern": pattern, "patternProperties": named}
    return extend(kind, keywords | ({"additionalProperties": others} if plain_others else {}))


def _patterns(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema.get("patternProperties", {})
    return found
