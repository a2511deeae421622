"""The schema of a run YAML."""

from __future__ import annotations

from flows import run_file
from flows.schemas import parts
from flows.schemas.parts import Schema

_CLOUD = "Of the cloud; not read here."


def schema() -> Schema:
    """Return the schema. Unknown keys are warned of, not refused."""
    return {
        "title": "run YAML",
        **parts.mapping(
            "A run of a flow over rows. Paths are relative to this file.",
            parts.ordered(run_file.KEYS, _what() | _how() | _cloud()),
        ),
        "additionalProperties": True,
        "anyOf": [
            {"required": ["flow", "data"]},
            {"required": ["flow", "run"]},
            {"required": ["resume_from"]},
        ],
    }


def _what() -> dict[str, Schema]:
    return {
        "$schema": parts.text("The schema an editor checks the file against; it changes nothing."),
        "name": parts.text("What the run is called.", default="<folder>_<variant>_<time>"),
        "display_name": parts.text("A name for people; it may hold ${variant_id}, ${run} and ${timestamp}.",
                                   examples=["answers-${variant_id}-${timestamp}"]),
        "description": parts.text("What the run is for."),
        "tags": parts.either("Words to find it by.", {"type": "object"}, {"type": "array", "items": {"type": "object"}},
                             {"type": "null"}),
        "properties": parts.names("Kept with the run.", True),
        "flow": parts.text("The flow's folder or file, or module:name.", examples=[".", "../answer", "flow:answer"]),
        "data": parts.text("The rows: .jsonl, .json, .csv, .tsv, .parquet, or a folder of such files.",
                           examples=["data.jsonl"]),
        "run": parts.text("An earlier run, whose inputs and outputs are rows as well."),
        "resume_from": parts.text("A run whose completed lines are kept; the others run again."),
    }  # fmt: skip


def _how() -> dict[str, Schema]:
    mapped = parts.names(
        "Where each input comes from: `${data.column}`, `${run.inputs.column}`, `${run.outputs.name}`, or a literal "
        "for every line.",
        True,
        examples=[{"question": "${data.question}", "answer": "${run.outputs.answer}", "strict": True}],
    )
    return {
        "column_mapping": mapped,
        "inputs_mapping": {**mapped, "description": "The old spelling of `column_mapping`."},
        "variant": parts.text("The variant of one node.", examples=["${ask.short}"]),
        "environment_variables": parts.either(
            "Variables for the flow's code, or the path of a .env file. They go over those of the flow.",
            parts.variables("Variables."),
            {"type": "string"},
        ),
        "connections": parts.names(
            "What nodes say otherwise: node, then key and value.",
            {
                "type": "object",
                "properties": {
                    "connection": parts.text("Another connection."),
                    "model": parts.text("Another model."),
                    "deployment_name": parts.text("Another deployment, of Azure OpenAI."),
                },
            },
            examples=[{"ask": {"connection": "my_connection", "model": "smollm2-135m-instruct"}}],
        ),
        "init": parts.either(
            "What a flex flow's class is made with, or the path of a JSON file.", {"type": ["object", "null"]},
            {"type": "string"},
        ),
    }  # fmt: skip


def _cloud() -> dict[str, Schema]:
    known = ("resources", "identity", "runtime", "environment", "use_remote_flow", "code", "type")
    return {key: parts.anything(_CLOUD) for key in known}
