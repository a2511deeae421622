"""JSON schemas of what clients send, for the OpenAPI document; the readers of each body know more and say it better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def body(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object; fields that nobody knows are tolerated."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
OBJECT: Schema = {"type": "object"}
PART: Schema = body({"type": {"enum": ["text", "image_url"]}}, {"text": TEXT, "image_url": OBJECT})
CONTENT: Schema = {"anyOf": [TEXT, {"type": "array", "items": PART}]}
TOKENS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
ROLE: Schema = {"enum": ["system", "developer", "user", "assistant", "tool"]}
MESSAGES: Schema = {"type": "array", "items": body({"role": ROLE, "content": CONTENT}, {}), "minItems": 1}
FUNCTION: Schema = body({"name": TEXT}, {"description": TEXT, "parameters": OBJECT, "strict": FLAG})
TOOLS: Schema = {"type": "array", "items": body({"type": {"const": "function"}, "function": FUNCTION}, {})}


def _count(least: int, most: int | None = None) -> Schema:
    return {"type": "integer", "minimum": least} | ({} if most is None else {"maximum": most})


def _number(least: float, most: float) -> Schema:
    return {"type": "number", "minimum": least, "maximum": most}


_SAMPLING: Mapping[str, Schema] = {
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "n": _count(1, 16),
    "seed": {"type": "integer"},
    "stop": {"anyOf": [TEXT, TEXTS]},
    "stream": FLAG,
    "stream_options": body({}, {"include_usage": FLAG}),
    "max_tokens": _count(1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "user": TEXT,
}
_FORMAT = body({"type": {"enum": ["text", "json_object", "json_schema"]}}, {"json_schema": OBJECT})

CHAT = body(
    {"model": TEXT, "messages": MESSAGES},
    {
        **_SAMPLING,
        "max_completion_tokens": _count(1),
        "tools": TOOLS,
        "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, OBJECT]},
        "parallel_tool_calls": FLAG,
        "response_format": _FORMAT,
        "logprobs": FLAG,
        "top_logprobs": _count(0, 20),
    },
)
COMPLETION = body(
    {"model": TEXT, "prompt": {"anyOf": [TEXT, TEXTS, TOKENS]}}, {**_SAMPLING, "echo": FLAG, "logprobs": _count(0, 20)}
)
EMBEDDING = body(
    {"model": TEXT, "input": {"anyOf": [TEXT, TEXTS, TOKENS]}},
    {"encoding_format": {"enum": ["float", "base64"]}, "dimensions": _count(1)},
)
RERANK = body({"model": TEXT, "query": TEXT, "documents": TEXTS}, {"top_n": _count(0)})
SCORE = body({"model": TEXT, "text_1": {"anyOf": [TEXT, TEXTS]}, "text_2": {"anyOf": [TEXT, TEXTS]}}, {})
TOKENIZE = body({"model": TEXT}, {"prompt": TEXT, "messages": MESSAGES, "add_special_tokens": FLAG})
DETOKENIZE = body({"model": TEXT, "tokens": TOKENS}, {})

_ITEM = {
    "anyOf": [
        body({"role": {"enum": ["user", "assistant", "system", "developer"]}, "content": TEXT}, {}),
        body({"type": {"const": "function_call"}, "call_id": TEXT, "name": TEXT, "arguments": TEXT}, {}),
        body({"type": {"const": "function_call_output"}, "call_id": TEXT, "output": TEXT}, {}),
    ]
}
RESPONSE_ASK = body(
    {"model": TEXT, "input": {"anyOf": [TEXT, {"type": "array", "items": _ITEM, "minItems": 1}]}},
    {
        "instructions": TEXT,
        "previous_response_id": TEXT,
        "max_output_tokens": _count(1),
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "top_logprobs": _count(0, 20),
        "include": {"type": "array", "items": {"enum": ["message.output_text.logprobs"]}},
        "tools": {
            "type": "array",
            "items": body({"type": {"const": "function"}, "name": TEXT}, {"description": TEXT, "parameters": OBJECT}),
        },
        "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, OBJECT]},
        "parallel_tool_calls": FLAG,
        "text": body({}, {"format": OBJECT}),
        "metadata": {"type": "object", "additionalProperties": TEXT, "maxProperties": 16},
        "store": FLAG,
        "stream": FLAG,
        "truncation": {"enum": ["auto", "disabled"]},
        "user": TEXT,
    },
)
PAGE: Mapping[str, Schema] = {"limit": _count(1, 100), "order": {"enum": ["asc", "desc"]}, "after": TEXT}

_BLOCK = {
    "anyOf": [
        body({"type": {"const": "text"}, "text": TEXT}, {}),
        body({"type": {"const": "tool_use"}, "id": TEXT, "name": TEXT, "input": OBJECT}, {}),
        body({"type": {"const": "tool_result"}, "tool_use_id": TEXT}, {"content": TEXT, "is_error": FLAG}),
    ]
}
_BLOCKS = {"anyOf": [TEXT, {"type": "array", "items": _BLOCK}]}
_TURN = body({"role": {"enum": ["user", "assistant"]}, "content": _BLOCKS}, {})
_COUNTED: Mapping[str, Schema] = {
    "system": {"anyOf": [TEXT, {"type": "array", "items": body({"type": {"const": "text"}, "text": TEXT}, {})}]},
    "tools": {"type": "array", "items": body({"name": TEXT, "input_schema": OBJECT}, {"description": TEXT})},
    "tool_choice": body(
        {"type": {"enum": ["auto", "any", "tool", "none"]}}, {"name": TEXT, "disable_parallel_tool_use": FLAG}
    ),
}
_TURNS: Schema = {"type": "array", "items": _TURN, "minItems": 1}
COUNT_ASK = body({"model": TEXT, "messages": _TURNS}, _COUNTED)
MESSAGE_ASK = body(
    {"model": TEXT, "max_tokens": _count(1), "messages": _TURNS},
    {
        **_COUNTED,
        "stop_sequences": TEXTS,
        "temperature": _number(0, 1),
        "top_p": _number(0, 1),
        "metadata": body({}, {"user_id": TEXT}),
        "stream": FLAG,
    },
)
