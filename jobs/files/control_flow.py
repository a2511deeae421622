"""Steps that decide which steps run, and how often: if_else, do_while, parallel_for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from jobs.files.expressions import EXPRESSION, is_expression
from jobs.files.nodes import NodeOutputs
from jobs.files.ports import INPUTS, Output, Value
from jobs.files.reading import Origin, Place
from jobs.files.record import Record
from jobs.files.shapes import Definitions, Either, Flag, Many, Named, Schema, Text, Whole, named

MOST_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, and where `parts` also text around it."""

    parts: bool = False

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str) and (EXPRESSION.search(value) if self.parts else is_expression(value)):
            return value
        raise place.wrong(f"must be an expression, as ${{{{parent.jobs.NAME}}}}, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string", "pattern": r"\$\{\{"}


@dataclass(frozen=True, slots=True)
class Steps:
    """One step, or several: `${{parent.jobs.train}}`."""

    def read(self, place: Place, value: Any) -> tuple[str, ...]:
        if isinstance(value, list):
            found: tuple[str, ...] = Many(Expression()).read(place, value)
            return found
        return (Expression().read(place, value),)

    def schema(self, definitions: Definitions) -> Schema:
        one = Expression().schema(definitions)
        return {"anyOf": [one, {"type": "array", "items": one}]}


@dataclass(frozen=True, slots=True)
class Names:
    """One text, or several."""

    def read(self, place: Place, value: Any) -> tuple[str, ...]:
        if isinstance(value, list):
            found: tuple[str, ...] = Many(Text()).read(place, value)
            return found
        return (Text().read(place, value),)

    def schema(self, definitions: Definitions) -> Schema:
        one = Text().schema(definitions)
        return {"anyOf": [one, {"type": "array", "items": one}]}


@dataclass(frozen=True, slots=True)
class Items:
    """What a loop goes over: inputs by name, for each turn; in a list, a mapping, as JSON, or as an expression."""

    def read(self, place: Place, value: Any) -> tuple[Mapping[str, Value], ...] | str:
        if isinstance(value, str):
            if is_expression(value):
                return value
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                raise place.wrong(f"is neither an expression nor JSON: {error.msg}") from None
        if isinstance(value, Mapping):
            return tuple(INPUTS.read(place.under(key), each) for key, each in value.items())
        found: tuple[Mapping[str, Value], ...] = Many(INPUTS).read(place, value)
        return found

    def schema(self, definitions: Definitions) -> Schema:
        inputs = INPUTS.schema(definitions)
        several = [{"type": "array", "items": inputs}, {"type": "object", "additionalProperties": inputs}]
        return {"anyOf": [{"type": "string"}, *several]}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """When a loop ends at the latest."""

    max_iteration_count: Annotated[int, Whole(1, MOST_ITERATIONS), "Turns."]


@dataclass(frozen=True, slots=True, kw_only=True)
class IfElse:
    """Runs some steps where a condition holds, others where it does not."""

    open: ClassVar[bool] = True

    origin: Origin
    type: Literal["if_else"]
    condition: Annotated[
        str | bool | None, Either((Expression(parts=True), Flag()), "an expression or a truth"), "A control output."
    ]
    true_block: Annotated[tuple[str, ...], Steps(), "The steps that run where it holds."] = ()
    false_block: Annotated[tuple[str, ...], Steps(), "The steps that run where it does not."] = ()

    def settle(self, place: Place, _: Mapping[str, Any]) -> IfElse:
        if not self.true_block and not self.false_block:
            raise place.wrong("needs `true_block` or `false_block`")
        if both := set(self.true_block) & set(self.false_block):
            raise place.under("false_block").wrong(f"has {', '.join(sorted(both))} as `true_block` has")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DoWhile:
    """Runs a step again while its output says so, with outputs of one turn as inputs of the next."""

    open: ClassVar[bool] = True

    origin: Origin
    type: Literal["do_while"]
    body: Annotated[str, Expression(), "The step: ${{parent.jobs.NAME}}."]
    condition: Annotated[str | None, "The output of the step that says whether it goes on."] = None
    mapping: Annotated[Mapping[str, tuple[str, ...]], Named(Names()), "From outputs to inputs of the next turn."]
    limits: LoopLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelFor:
    """Runs a step once for each item, many at the same time."""

    open: ClassVar[bool] = True

    origin: Origin
    type: Literal["parallel_for"]
    body: Annotated[str, Expression(), "The step: ${{parent.jobs.NAME}}."]
    items: Annotated[tuple[Mapping[str, Value], ...] | str, Items(), "What it goes over."]
    max_concurrency: Annotated[int | None, "How many at the same time."] = None
    outputs: Annotated[Mapping[str, Output], NodeOutputs(), "Where its outputs go."] = field(default_factory=dict)


ControlFlow = IfElse | DoWhile | ParallelFor
IF_ELSE = Record(IfElse)
DO_WHILE = Record(DoWhile)
PARALLEL_FOR = Record(ParallelFor)
