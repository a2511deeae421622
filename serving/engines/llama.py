"""A forward pass of our own for models built like Llama: the same numbers as transformers', with a third of the calls.

Tokens lie flat, those of all rows one after another, so that rows of any length share each product. What lies between
the products of one layer and the next row's keys is `attend`, which the batch gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from serving.engines.packing import Halves, Product, product

BUILT_ALIKE = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
STILL = frozenset({"default", "linear", "llama3", "yarn"})  # rotations that do not depend on what else is in the batch
# The products of a layer, each with the modules it joins, in the order in which their results lie.
JOINED: Mapping[str, tuple[str, ...]] = {
    "attend": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "leave": ("self_attn.o_proj",),
    "widen": ("mlp.gate_proj", "mlp.up_proj"),
    "narrow": ("mlp.down_proj",),
}

Attend = Callable[[int, torch.Tensor], torch.Tensor]  # (layer, queries keys values) -> what the queries found
Pair = tuple[torch.Tensor, torch.Tensor]  # the two factors of an adapter's part of one product


@dataclass(frozen=True)
class Adapted:
    """Which of the flat tokens an adapter changes (None: all), and its factors by layer and product."""

    rows: torch.Tensor | None
    pairs: Mapping[tuple[int, str], Pair]


@dataclass(frozen=True)
class Layer:
    """The weights of one layer."""

    before: torch.Tensor
    after: torch.Tensor
    even: tuple[torch.Tensor, torch.Tensor] | None  # Qwen3 evens out each head of queries and of keys first
    products: Mapping[str, Product]


def is_built_alike(model: Any) -> bool:
    """Whether `Llama` gives the numbers of this transformers model."""
    config = model.config
    if type(model).__name__ not in BUILT_ALIKE or any(kind != "full_attention" for kind in _kinds(config)):
        return False
    return (config.rope_parameters or {}).get("rope_type", "default") in STILL


def _kinds(config: Any) -> Sequence[str]:
    told = getattr(config, "layer_types", None)
    return told or (["sliding"] if getattr(config, "sliding_window", None) else [])


class Llama:
    """The weights of a transformers model, laid out for `states` and `logits`.

    With `take` the model is emptied layer by layer, so that no more than one layer is held twice. With `halve` a lone
    token is multiplied in float16 as long as its numbers stay finite.
    """

    def __init__(self, model: Any, *, take: bool = False, halve: bool = False) -> None:
        self.config = model.config
        self.generation_config = model.generation_config
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        attention = model.model.layers[0].self_attn
        self.size: int = attention.head_dim
        self.kv_heads: int = self.config.num_key_value_heads
        self.heads: int = self.config.num_attention_heads
        self.products = {name: _sizes(model, joined) for name, joined in JOINED.items()}
        self._epsilon: float = self.config.rms_norm_eps
        self._activate = model.model.layers[0].mlp.act_fn
        self._rotations = model.model.rotary_emb
        self.halves = Halves(on=halve)
        with torch.inference_mode():
            self._embedding = model.model.embed_tokens.weight.detach()
            self.layers: list[Layer] = []
            for index in range(len(model.model.layers)):
                self.layers.append(_layer(model.model.layers[index], self.halves))
                if take:
                    model.model.layers[index] = torch.nn.Identity()
            self._last = model.model.norm.weight.detach()
            self._head = product([model.lm_head], self.halves)

    def states(
        self, tokens: torch.Tensor, positions: torch.Tensor, attend: Attend, adapted: Sequence[Adapted] = ()
    ) -> torch.Tensor:
        """Return the last states of flat tokens at their positions; `attend` may be called twice for a layer."""
        return self._finite(len(tokens), lambda: self._states(tokens, positions, attend, adapted))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits after the given states."""
        return self._finite(len(states), lambda: self._head(states))

    def _finite(self, rows: int, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        found = compute()
        if rows == 1 and self.halves.on and not found.isfinite().all():
            self.halves.on = False
            found = compute()
        return found

    def _states(
        self, tokens: torch.Tensor, positions: torch.Tensor, attend: Attend, adapted: Sequence[Adapted]
    ) -> torch.Tensor:
        hidden = functional.embedding(tokens, self._embedding)
        cosines, sines = self._rotation(hidden, positions)
        turned = self.heads + self.kv_heads
        for index, layer in enumerate(self.layers):
            states = functional.rms_norm(hidden, (hidden.shape[-1],), layer.before, self._epsilon)
            joined = self._multiply(index, "attend", states, adapted)
            joined = joined.view(len(tokens), turned + self.kv_heads, self.size)
            if layer.even:
                self._even(joined, layer.even)
            heads = joined[:, :turned]
            rolled = heads.roll(self.size // 2, -1)
            heads.mul_(cosines).addcmul_(rolled, sines)
            hidden = hidden + self._multiply(index, "leave", attend(index, joined), adapted)
            states = functional.rms_norm(hidden, (hidden.shape[-1],), layer.after, self._epsilon)
            gates, ups = self._multiply(index, "widen", states, adapted).chunk(2, dim=-1)
            hidden = hidden + self._multiply(index, "narrow", self._activate(gates).mul_(ups), adapted)
        return functional.rms_norm(hidden, (hidden.shape[-1],), self._last, self._epsilon)

    def _multiply(self, layer: int, name: str, states: torch.Tensor, adapted: Sequence[Adapted]) -> torch.Tensor:
        found = self.layers[layer].products[name](states)
        for adapter in adapted:
            if pair := adapter.pairs.get((layer, name)):
                down, up = pair
                if adapter.rows is None:
                    found += states @ down @ up
                else:
                    found.index_add_(0, adapter.rows, states[adapter.rows] @ down @ up)
        return found

    def _rotation(self, hidden: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cosines, sines = self._rotations(hidden, positions[None])
        signed = sines[0].clone()
        signed[:, : self.size // 2].neg_()
        return cosines[0][:, None], signed[:, None]

    def _even(self, joined: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor]) -> None:
        heads = joined.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        for some, weight in zip(heads, weights, strict=False):
            some.copy_(functional.rms_norm(some, (self.size,), weight, self._epsilon))


def _layer(layer: Any, halves: Halves) -> Layer:
    even = [getattr(layer.self_attn, name, None) for name in ("q_norm", "k_norm")]
    return Layer(
        before=layer.input_layernorm.weight.detach(),
        after=layer.post_attention_layernorm.weight.detach(),
        even=(even[0].weight.detach(), even[1].weight.detach()) if even[0] and even[1] else None,
        products={
            name: product([layer.get_submodule(part) for part in parts], halves) for name, parts in JOINED.items()
        },
    )


def _sizes(model: Any, parts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return how much each joined module reads and gives."""
    found = {part: model.model.layers[0].get_submodule(part) for part in parts}
    return {part: (module.in_features, module.out_features) for part, module in found.items()}
