"""How much memory a model takes, from the headers of its files; nothing is loaded."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}
LONGEST_HEADER = 100_000_000  # bytes, the format's own limit


def weights(folder: Path, dtype: str | None = None) -> int:
    """Return the bytes of a model's weights, as numbers of the format `dtype` where one is given."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    width = WIDTHS.get(dtype or "")
    return sum(_tensor(each, width) for path in files for each in _header(path))


def is_narrow(folder: Path) -> bool:
    """Whether the weights were published in 16 bits a number, so that float16 keeps them."""
    wide = weights(folder, "float32")
    return weights(folder) * 2 <= wide


def positions(folder: Path, count: int, width: int = 2) -> int:
    """Return the bytes of the keys and values of `count` positions; 0 where the model's configuration does not tell."""
    config = _json(folder / "config.json")
    config = config.get("text_config") or config
    heads, layers = config.get("num_attention_heads"), config.get("num_hidden_layers")
    if not isinstance(heads, int) or not isinstance(layers, int) or not heads:
        return 0
    size = config.get("head_dim") or config.get("hidden_size", 0) // heads
    return int(2 * layers * (config.get("num_key_value_heads") or heads) * size * width * count)


def context(folder: Path) -> int:
    """Return how many tokens the model can look at; 0 where its configuration does not tell."""
    found = _json(folder / "config.json").get("max_position_embeddings")
    return found if isinstance(found, int) else 0


def _tensor(tensor: dict[str, Any], width: int | None) -> int:
    kind = tensor["dtype"]
    size = width if width and kind in FLOATS else BYTES.get(kind, 1)
    return int(prod(tensor["shape"])) * size


def _header(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER:
            return []
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return []  # whoever loads it will say what is wrong with it
    return [tensor for name, tensor in header.items() if name != "__metadata__"]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
