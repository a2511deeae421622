"""The schema of evaluation task YAML."""

from __future__ import annotations

from typing import get_args

from evals.tasks import files
from evals.tasks.task import GENERATE_KEYS, TARGET_KEYS, Choosing
from flows.schemas import parts
from flows.schemas.parts import Schema

_WHOLE = {"type": "integer", "minimum": 1}


def schema() -> Schema:
    """Return the schema."""
    known: dict[str, Schema] = {
        "$schema": parts.text("The schema an editor checks the file against; it changes nothing."),
        "name": parts.text("What results call it; without one, the file's name."),
        "description": parts.text("What it measures."),
        "data": parts.either(
            "The rows: a file beside this one (.jsonl, .csv, .parquet …), data:NAME@latest, "
            "hf://datasets/OWNER/NAME/FILE, a URL, or the rows themselves.",
            {"type": "string"}, {"type": "array", "items": {"type": "object"}},
        ),
        "mapping": parts.names("What inputs are: ${data.column}. `expected`, `id`, `cluster`, `choices` and `answer` "
                               "have a meaning of their own.", True),
        "target": parts.either("Who answers; a model's name alone will do.", {"type": "string"}, _target()),
        "prompt": parts.text("What is asked, a Jinja template over the inputs."),
        "prompt_file": parts.text("The template in a file of its own."),
        "system": parts.text("What the model is told first, a template too."),
        "generate": parts.mapping(
            "What goes into every request; what else a server knows goes into `extra_body`.",
            {key: {} for key in GENERATE_KEYS} | {"extra_body": parts.anything("It goes in as it is.", type="object")},
        ),
        "few_shot": parts.mapping(
            "Examples before the question.",
            {
                "data": {"type": ["string", "array"], "description": "Where they come from."},
                "count": {"type": "integer", "minimum": 0, "description": "How many."},
                "seed": {"type": "integer", "description": "Draw them in the order that this number gives."},
                "by": parts.text("Only rows that are alike in this column."),
            },
            required=("data",),
        ),
        "choices": parts.choice(get_args(Choosing), "How one of the row's choices is told."),
        "scorers": {"type": "array", "minItems": 1, "items": _scorer(),
                    "description": "What a good answer is: studiolo eval scorers lists them."},
        "epochs": parts.either("How often each row is asked.", _WHOLE, _epochs()),
        "slices": {"type": ["string", "array"], "items": {"type": "string"},
                   "description": "Columns whose values have metrics of their own."},
        "limits": parts.mapping("When the run stops by itself.",
                                {key: {"type": "number", "exclusiveMinimum": 0} for key in files.LIMIT_KEYS}),
        "concurrency": {**_WHOLE, "description": "Questions at once."},
        "seed": {"type": "integer", "description": "Sent with each request; a repeat adds its number."},
        "baseline": parts.text("What `studiolo eval gate` compares with."),
        "gate": parts.mapping("What a run must keep to, to pass `studiolo eval gate`.", {
            "metrics": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                        "description": "The scorers that count, by default all; the first is the primary one."},
            "margin": {"type": "number", "exclusiveMinimum": 0, "maximum": 1,
                       "description": "The loss that is put up with: 0.03 are 3 points."},
            "max_unscored": {
                "type": "number", "minimum": 0, "maximum": 1, "description": "The share of rows that may lack a score.",
            },
            "max_regressions": {"type": "integer", "minimum": 0, "description": "How many rows may get worse at most."},
            "require_power": {"type": "boolean", "description": "Fail where a loss beyond the margin could go unseen."},
        }),
    }  # fmt: skip
    return parts.mapping(
        "What is measured: studiolo eval run FILE",
        {key: known[key] for key in files.KEYS},
        required=("data", "scorers"),
        title="evaluation task YAML",
    )


def _target() -> Schema:
    words = {
        "model": parts.text("A model or endpoint of this workspace, or the model's name at `endpoint`."),
        "endpoint": parts.text("The address of an OpenAI-compatible server: http://127.0.0.1:8000/v1"),
        "flow": parts.text("A flow's folder."),
        "function": parts.text("file.py:name or package.module:name."),
        "answers": parts.anything("The answers are in the data: mapping: {answer: ${data.column}}."),
        "run": parts.text("A run that is over, whose answers are scored."),
        "key": parts.text("The connection that holds the key."),
        "api": parts.choice(("chat", "completion"), "Which of the server's APIs is asked."),
        "answer": parts.text("The output that is the answer, where a flow has several."),
        "variant": parts.text("A variant of the flow."),
    }
    return parts.mapping("Who answers.", {key: words[key] for key in TARGET_KEYS})


def _scorer() -> Schema:
    named = parts.mapping(
        "A scorer with its settings.",
        {
            "name": parts.text("A registered scorer, or file.py:function."),
            "flow": parts.text("An evaluation flow's folder."),
            "mapping": parts.names("What the flow's inputs are: ${data.x}, ${run.outputs.x}, ${sample.answer}.", True),
            "as": parts.text("What its results are called."),
        },
    )
    return parts.either("A name, or a mapping.", {"type": "string"}, {**named, "additionalProperties": True})


def _epochs() -> Schema:
    reducer = {"type": "string", "pattern": r"^(mean|mode|max|pass[@^][1-9]\d*)$"}
    return parts.mapping(
        "How often, and what becomes of the repeats of a row.",
        {
            "count": _WHOLE,
            "reduce": parts.either("mean, mode, max, pass@k, pass^k.", reducer, {"type": "array", "items": reducer}),
        },
    )
