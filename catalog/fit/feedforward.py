"""The part of a layer that treats each token alone: dense, gated or a choice of experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.fit.keys import Keys
from catalog.fit.mixers import FUSED
from catalog.fit.shape import Linear

# Two matrices with a plain function between them, and the names of the two.
PLAIN = {
    "gpt2": ("c_fc", "c_proj"), "gpt_bigcode": ("c_fc", "c_proj"), "gpt_neox": ("dense_h_to_4h", "dense_4h_to_h"),
    "bloom": ("dense_h_to_4h", "dense_4h_to_h"), "falcon": ("dense_h_to_4h", "dense_4h_to_h"), "phi": ("fc1", "fc2"),
    "opt": ("fc1", "fc2"), "starcoder2": ("c_fc", "c_proj"), "nemotron": ("up_proj", "down_proj"),
    "nemotron_h": ("up_proj", "down_proj"), "distilbert": ("lin1", "lin2"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "electra", "camembert", "vit"), ("dense", "dense")),
}  # fmt: skip
# Written out in Python, these functions leave four tensors behind; as one kernel, a function leaves its input.
WRITTEN_OUT = {"gelu_new": 4, "gelu_fast": 4, "quick_gelu": 3, "gelu_python": 4}
UNBIASED = frozenset({"nemotron", "nemotron_h", "falcon"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeding:
    """One layer's matrices, how many numbers a token has between them, and how many of those a backward pass needs."""

    linears: tuple[Linear, ...] = ()
    width: int = 0
    kept: int = 0
    others: int = 0


def is_sparse(keys: Keys, number: int) -> bool:
    """Whether a layer, counted from 0, has experts."""
    if keys.number("experts") < 2 or (keys.family == "gemma4_text" and not keys.flag("enable_moe_block")):
        return False
    frequency = keys.get("moe_layer_freq")
    if isinstance(frequency, list):
        return number < len(frequency) and bool(frequency[number])
    if number in keys.listed("mlp_only_layers"):
        return False
    if step := keys.number("interleave_moe_layer_step"):
        return (number + 1) % step == 0
    if step := keys.number("decoder_sparse_step"):
        return (number + 1) % step == 0
    return number >= keys.number("first_k_dense_replace")


def dense(keys: Keys, number: int = 0) -> Feeding:
    """One block for all tokens."""
    hidden = keys.needed("hidden")
    if said := block(keys, number, "ffn"):
        return Feeding() if said.get("no_op") else _block(keys, _rounded(said.get("ffn_mult"), hidden))
    width = keys.number("intermediate_size_mlp") or keys.number("dense_intermediate_size")
    return _block(keys, width or keys.number("feedforward") or 4 * hidden)


def block(keys: Keys, number: int, part: str) -> Mapping[str, Any]:
    """Return what is said of one layer alone, where a search has made layers unlike each other (Nemotron-NAS)."""
    blocks = keys.listed("block_configs")
    found = blocks[number].get(part) if number < len(blocks) and isinstance(blocks[number], dict) else None
    return found if isinstance(found, dict) else {}


def _rounded(multiple: object, hidden: int) -> int:
    """Its own rule: two thirds of the multiple, in steps of 256."""
    width = int(2 * (multiple if isinstance(multiple, int | float) else 4) * hidden / 3)
    return -(-width // 256) * 256


def sparse(keys: Keys) -> Feeding:
    """Experts, of which a router gives each token a few, and what all tokens share."""
    hidden, copies, top = keys.needed("hidden"), keys.needed("experts"), keys.number("top", 2)
    width = keys.number("expert_width") or keys.needed("feedforward")
    gated = keys.family not in PLAIN
    inner = keys.number("expert_inputs") or hidden
    bias = keys.family == "gpt_oss"
    parts = [
        Linear(name="gate_up_proj" if gated else "up_proj", inputs=inner, outputs=width * (1 + gated), bias=bias,
               copies=copies, active=top, expert=True, reads="experts"),
        Linear(name="down_proj", inputs=width, outputs=inner, bias=bias,
               copies=copies, active=top, expert=True, reads="chosen"),
    ]  # fmt: skip
    total, kept = top * width, top * width * (3 if gated else 1) + top * inner
    sharing = keys.number("shared_width") or keys.number("shared") * width
    sharing = width if keys.family == "llama4_text" else sharing
    parts.append(Linear(name="gate", inputs=hidden, outputs=copies, bias=bias, expert=True, reads="feeding"))
    others = _router(keys, hidden, copies)
    if inner != hidden:
        parts += [
            Linear(name="fc1_latent_proj", inputs=hidden, outputs=inner, reads="feeding"),
            Linear(name="fc2_latent_proj", inputs=inner, outputs=hidden, reads="chosen"),
        ]
        others += inner * keys.flag("latent_moe_use_norm")
    if sharing:
        block = _block(keys, sharing)
        parts += block.linears
        total, kept = total + block.width, kept + block.kept
        others += hidden * (keys.family in ("qwen2_moe", "qwen3_next", "qwen3_5_moe_text"))  # its gate
    if keys.family == "gemma4_text":  # a dense block and experts side by side
        block = dense(keys)
        parts += block.linears
        total, kept = total + block.width, kept + block.kept
    return Feeding(linears=tuple(parts), width=total, kept=kept, others=others)


def _router(keys: Keys, hidden: int, copies: int) -> int:
    if keys.family == "gemma4_text":
        return hidden + copies  # scales, of what comes in and of each expert
    return 0


def _block(keys: Keys, width: int) -> Feeding:
    hidden = keys.needed("hidden")
    if keys.family in PLAIN:
        up, down = PLAIN[keys.family]
        bias = keys.family not in UNBIASED or keys.flag("mlp_bias")
        parts: tuple[Linear, ...] = (
            Linear(name=up, inputs=hidden, outputs=width, bias=bias, reads="feeding"),
            Linear(name=down, inputs=width, outputs=hidden, bias=bias, reads="fed"),
        )
        return Feeding(linears=parts, width=width, kept=width * WRITTEN_OUT.get(str(keys.get("activation")), 1))
    bias = keys.flag("mlp_bias")
    down_part = Linear(name="down_proj", inputs=width, outputs=hidden, bias=bias, reads="fed")
    if keys.family in FUSED:
        whole = Linear(name="gate_up_proj", inputs=hidden, outputs=2 * width, bias=bias, reads="feeding")
        return Feeding(linears=(whole, down_part), width=width, kept=3 * width)
    halves = (
        Linear(name=name, inputs=hidden, outputs=width, bias=bias, reads="feeding") for name in ("gate_proj", "up_proj")
    )
    return Feeding(linears=(*halves, down_part), width=width, kept=3 * width)
