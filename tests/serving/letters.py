"""A tokenizer whose tokens are the 256 bytes, and random JSON Schemas: for tests of what needs no model."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END = 256


def byte_tokenizer(template: str | None = None) -> Any:
    """Return the tokenizer; token N is the byte N, and 256 ends an answer."""
    tokenizer = Tokenizer(models.BPE(vocab=dict(_letters()), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", chat_template=template)


def _letters() -> list[tuple[str, int]]:
    """Return the letter that stands for each byte, in GPT-2's way."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [(chr(byte), byte) for byte in shown] + [(chr(256 + place), byte) for place, byte in enumerate(hidden)]


_NAMES = st.text("abcdef_", min_size=1, max_size=4)
_LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda size: {"type": "string", "maxLength": size}, st.integers(0, 4)),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, *[st.integers(0, 50)] * 2),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}, {"const": {"a": [1, "x"]}}]),
    st.builds(lambda values: {"enum": values}, st.lists(st.one_of(_NAMES, st.integers(-5, 5)), min_size=1, max_size=3)),
    st.sampled_from([{"type": "string", "pattern": "^[a-c]{1,3}$"}, {"type": "string", "format": "date"}]),
)


def _object(properties: dict[str, Any], data: int) -> dict[str, Any]:
    required = [name for place, name in enumerate(properties) if data >> place & 1]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _inside(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(_object, st.dictionaries(_NAMES, schemas, max_size=3), st.integers(0, 7)),
        st.builds(lambda of, most: {"type": "array", "items": of, "maxItems": most}, schemas, st.integers(0, 3)),
        st.builds(lambda left, right: {"anyOf": [left, right]}, schemas, schemas),
    )


_PROPERTIES = st.dictionaries(_NAMES, st.recursive(_LEAVES, _inside, max_leaves=6), max_size=3)
SCHEMAS = st.builds(_object, _PROPERTIES, st.integers(0, 7))
