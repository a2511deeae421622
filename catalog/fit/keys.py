"""The entries of a config.json, by one name each: every family has its own words for the same things."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workspace.errors import Invalid

_NAMES: Mapping[str, Sequence[str]] = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads"),
    "key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "head_dim": ("head_dim", "attention_head_dim"),
    "feedforward": ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "decoder_ffn_dim", "hidden_dim"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "context": ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length"),
    "activation": ("hidden_act", "hidden_activation", "activation_function", "activation", "mlp_hidden_act"),
    "experts": ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"),
    "top": (
        "num_experts_per_tok", "experts_per_token", "top_k_experts", "num_experts_per_token", "moe_topk", "moe_top_k",
    ),
    "expert_inputs": ("routed_expert_hidden_size", "moe_latent_size"),
    "expert_width": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "shared_width": (
        "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "share_expert_dim",
        "shared_intermediate_size",
    ),
    "shared": ("n_shared_experts", "num_shared_experts", "num_shared_expert"),
}  # fmt: skip
# What a family's class says where the file is silent.
_SILENT: Mapping[str, Mapping[str, Any]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "max_position_embeddings": 131072, "sliding_window_pattern": 6,
    },
    "gemma2": {"head_dim": 256},
    "gemma": {"head_dim": 256},
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "mistral": {"num_key_value_heads": 8},
    "bloom": {"seq_length": 2048},
    "gpt2": {"activation_function": "gelu_new"},
    "phi": {"hidden_act": "gelu_new"},
    "qwen2_vl_text": {"num_key_value_heads": 32},
}  # fmt: skip


class Keys:
    """A configuration: `keys.number("hidden")` whatever the file calls it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        outer = dict(config)
        nested = (config.get(name) for name in ("text_config", "llm_config", "language_config"))
        inner: dict[str, Any] = next((each for each in nested if isinstance(each, dict)), {})
        said = {key: value for key, value in inner.items() if value is not None}
        family = str(inner.get("model_type") or outer.get("model_type") or "")
        self.family = family
        self.outer = outer
        self._all = {
            **_SILENT.get(family, {}),
            **outer,
            **said,
        }

    def get(self, name: str) -> Any:
        """Return an entry by any of its names; None where the file has none."""
        for each in _NAMES.get(name, (name,)):
            if self._all.get(each) is not None:
                return self._all[each]
        return None

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number; of a list, where layers differ, the largest."""
        found = self.get(name)
        if isinstance(found, list):
            found = max((each for each in found if isinstance(each, int)), default=None)
        if found is None or isinstance(found, bool):
            return default
        if not isinstance(found, int | float) or found != found or found < 0 or found > 1e15:
            raise Invalid(f"config.json: {name} must be a number of at least 0, not {found!r}")
        return int(found)

    def needed(self, name: str) -> int:
        """Return a number without which nothing can be said."""
        if not (found := self.number(name)):
            raise Invalid(
                f"config.json says nothing of {' or '.join(_NAMES.get(name, (name,)))}",
                hint="it describes no transformer or state-space model that is known here",
            )
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a claim."""
        found = self.get(name)
        return default if found is None else bool(found)

    def listed(self, name: str) -> list[Any]:
        """Return a list; empty where the file has none."""
        found = self.get(name)
        return found if isinstance(found, list) else []


def read(path: Path) -> dict[str, Any]:
    """Return the entries of a config.json."""
    try:
        return parsed(path.read_bytes(), str(path))
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None


def parsed(content: bytes, where: str) -> dict[str, Any]:
    """Return the entries that a file's content holds."""
    try:
        found = json.loads(content)
    except ValueError:
        raise Invalid(f"{where} is no JSON", hint="is it a page that asks to log in?") from None
    if not isinstance(found, dict):
        raise Invalid(f"{where} holds no object, but a {type(found).__name__}")
    return found
