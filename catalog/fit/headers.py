"""What the files of weights say of themselves in their first bytes: how many numbers, in which formats, how large."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from catalog.fit.numbers import GGUF, SAFETENSORS, bytes_of
from workspace.errors import Invalid

MOST_HEADER = 100_000_000  # bytes, as safetensors' own reader allows
_LENGTH = 8
_MAGIC = b"GGUF"
_SIMPLE = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_SHOWN = 64  # elements of an array that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights as they lie in files: bytes, numbers by format, and the configuration where the file holds one (GGUF)."""

    size: int
    formats: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """All numbers; 0 where only the size is known."""
        return sum(self.formats.values())


def of_folder(folder: Path) -> Weights | None:
    """Return what the safetensors or the largest GGUF file of a folder say; None where there are none."""
    if found := sorted(folder.glob("*.safetensors")):
        return together([_read(path) for path in found])
    if found := sorted(folder.glob("*.gguf"), key=lambda path: path.stat().st_size):
        return of_gguf(found[-1])
    return None


def of_gguf(path: Path) -> Weights:
    """Return what a GGUF file says: it is as large as its weights, and describes the model."""
    with path.open("rb") as file:
        return gguf(file.read(64_000_000), size=path.stat().st_size, where=str(path))


def together(parts: Sequence[Weights]) -> Weights:
    """Return the weights of several files as one."""
    formats: dict[str, int] = {}
    for part in parts:
        for name, count in part.formats.items():
            formats[name] = formats.get(name, 0) + count
    return Weights(size=sum(each.size for each in parts), formats=formats)


def _read(path: Path) -> Weights:
    with path.open("rb") as file:
        first = file.read(_LENGTH)
        return safetensors(first + file.read(header_length(first, str(path))), str(path))


def header_length(content: bytes, where: str) -> int:
    """Return how long the header is that a safetensors file begins with."""
    length = int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or not 2 <= length <= MOST_HEADER:
        raise Invalid(f"{where} is no safetensors file", hint="it begins with the length of a header, then JSON")
    return length


def safetensors(content: bytes, where: str) -> Weights:
    """Return what a header says: a length, then JSON with the type and shape of each tensor."""
    length = header_length(content, where)
    if len(content) < _LENGTH + length:
        raise Invalid(f"{where} ends within its header: {len(content):,} of {_LENGTH + length:,} bytes")
    try:
        header = json.loads(content[_LENGTH : _LENGTH + length])
        tensors = [each for name, each in header.items() if name != "__metadata__"]
        formats: dict[str, int] = {}
        for each in tensors:
            formats[each["dtype"]] = formats.get(each["dtype"], 0) + prod(each["shape"])
        size = max((each["data_offsets"][1] for each in tensors), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise Invalid(f"{where} has a header that is damaged") from None
    return Weights(size=size, formats=formats)


def counted(formats: Mapping[str, Any]) -> Weights:
    """Return the weights that counts of numbers by format stand for, as the Hub tells them."""
    counts = {name: int(count) for name, count in formats.items() if isinstance(count, int) and count > 0}
    unknown = [name for name in counts if name not in SAFETENSORS]
    size = sum(int(count * bytes_of(SAFETENSORS.get(name, "uint8"))) for name, count in counts.items())
    return Weights(size=0 if unknown else size, formats=counts)


def gguf(content: bytes, *, size: int, where: str) -> Weights:
    """Return what the first bytes of a GGUF file say; keys that lie beyond them are left out."""
    if content[:4] != _MAGIC:
        raise Invalid(f"{where} is no GGUF file")
    try:
        version, tensors, count = struct.unpack_from("<IQQ", content, 4)
    except struct.error:
        raise Invalid(f"{where} ends within its header") from None
    if version not in (2, 3) or count > 100_000 or tensors > 1_000_000:
        raise Invalid(f"{where} is a GGUF file of version {version}, which is not read here")
    reader = _Reader(content, 24)
    entries: dict[str, Any] = {}
    try:
        for _ in range(count):
            name = reader.text()
            entries[name] = reader.value(reader.number("<I"))
        formats = _formats(reader, tensors)
    except (struct.error, EOFError):
        formats = {}
    return Weights(size=size, formats=formats, config=_config(entries))


def _formats(reader: _Reader, tensors: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for _ in range(tensors):
        reader.text()
        shape = [reader.number("<Q") for _ in range(reader.number("<I"))]
        kind, _offset = reader.number("<I"), reader.number("<Q")
        name = GGUF[kind][0] if kind in GGUF else f"type {kind}"
        found[name] = found.get(name, 0) + prod(shape)
    return found


@dataclass(slots=True)
class _Reader:
    content: bytes
    at: int

    def number(self, form: str) -> Any:
        found = struct.unpack_from(form, self.content, self.at)[0]
        self.at += struct.calcsize(form)
        return found

    def text(self) -> str:
        length = self.number("<Q")
        if length > len(self.content) - self.at:
            raise EOFError
        self.at += length
        return self.content[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _SIMPLE:
            return self.number(_SIMPLE[kind])
        if kind != _ARRAY:
            raise Invalid(f"a GGUF file holds a value of kind {kind}, which is not known")
        inner, count = self.number("<I"), self.number("<Q")
        kept = []
        for index in range(count):
            each = self.value(inner)
            if index < _MOST_SHOWN:
                kept.append(each)
        return {"count": count, "first": kept}


# GGUF's keys, without the architecture before them, and ours.
_KEYS: Mapping[str, str] = {
    "embedding_length": "hidden_size", "block_count": "num_hidden_layers", "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim", "attention.value_length": "v_head_dim", "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings", "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok", "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts", "attention.sliding_window": "sliding_window",
    "attention.kv_lora_rank": "kv_lora_rank", "attention.q_lora_rank": "q_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim", "leading_dense_block_count": "first_k_dense_replace",
    "ssm.state_size": "state_size", "ssm.conv_kernel": "conv_kernel", "ssm.time_step_rank": "time_step_rank",
}  # fmt: skip
_FAMILIES: Mapping[str, str] = {
    "gemma3": "gemma3_text", "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "deepseek2": "deepseek_v3",
    "gptneox": "gpt_neox", "phi2": "phi", "gpt-oss": "gpt_oss", "qwen3next": "qwen3_next",
}  # fmt: skip


def _config(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries as config.json would have them."""
    family = str(entries.get("general.architecture", ""))
    found: dict[str, Any] = {}
    for name, ours in _KEYS.items():
        value = entries.get(f"{family}.{name}")
        if isinstance(value, dict):  # one for each layer
            value = max((each for each in value["first"] if isinstance(each, int)), default=None)
        if value is not None:
            found[ours] = value
    if isinstance(tokens := entries.get("tokenizer.ggml.tokens"), dict):
        found.setdefault("vocab_size", tokens["count"])
    found["model_type"] = _FAMILIES.get(family, family)
    if "head_dim" in found and found["model_type"] == "deepseek_v3":
        found["qk_nope_head_dim"] = max(0, found.pop("head_dim") - found.get("qk_rope_head_dim", 0))
    return found
