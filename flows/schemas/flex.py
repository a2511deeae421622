"""The schema of flow.flex.yaml."""

from __future__ import annotations

from flows import flex
from flows.flex_signature import MODEL_CONFIGURATIONS
from flows.schemas import parts
from flows.schemas.parts import Schema

_SAMPLE = "A value may be `${file:path}` or `${env:NAME}`."


def schema() -> Schema:
    """Return the schema."""
    properties = parts.words() | {
        "entry": parts.text(
            "The function, or the class with `__call__`, that is the flow: module:Name.",
            pattern=f"^{flex.ENTRY.pattern}$",
            examples=["flow:answer", "package.module:Assistant"],
        ),
        "inputs": parts.names("What the entry takes; read from its annotations where it is left out.",
                              {"$ref": "#/$defs/port"}),
        "outputs": parts.names("The keys of what it returns; read from its annotations where it is left out.",
                               {"$ref": "#/$defs/port"}),
        "init": parts.names("What the class is made with, once per worker.", {"$ref": "#/$defs/init"}),
        "sample": parts.either(
            "Inputs its author tried: they are used where a test gives none.",
            parts.mapping("The sample.", parts.ordered(flex.SAMPLE_KEYS, {
                "inputs": parts.names(f"Inputs. {_SAMPLE}", True),
                "init": parts.names(f"What the class is made with. {_SAMPLE}", True),
            })),
            {"type": "string"},
            {"type": "null"},
        ),
        "code": parts.text("The folder of the code, relative to this file.", default="."),
        "path": parts.text("Not read."),
    }  # fmt: skip
    plain = sorted(flex.TYPES)
    made_with = [*plain, *MODEL_CONFIGURATIONS]
    return {
        "title": "flow.flex.yaml",
        **parts.mapping(
            "A flow that is a function or a class.", parts.ordered(flex.KEYS, properties), required=["entry"]
        ),
        "$defs": {
            "port": _port({"enum": plain}),
            "init": _port({"anyOf": [{"enum": made_with}, {"type": "string", "pattern": "Connection$"}]}),
        },
    }


def _port(kind: Schema) -> Schema:
    made = parts.flow_input(flex.PORT_KEYS)
    made["properties"]["type"] = {**kind, "description": "The type; it may not contradict the annotation in the code."}
    return made
