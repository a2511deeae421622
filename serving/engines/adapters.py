"""LoRA adapters in PEFT's layout: read without pickle, checked against the model, and chosen by each request.

An adapter adds to a product `x @ W` its own `x @ A @ B`. Rows with different adapters, and with none, share a step.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from serving.engines.llama import Llama, Pair

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HIGHEST_RANK = 512
_KEY = re.compile(r"(?:base_model\.model\.)?model\.layers\.(\d+)\.((?:self_attn|mlp)\.\w+)\.lora_([AB])\.weight")
# What PEFT can do that is more than a product of two factors, with the values that ask for none of it.
PLAIN: Mapping[str, tuple[object, ...]] = {
    "alpha_pattern": (None, {}),
    "alora_invocation_tokens": (None,),
    "bias": (None, "none"),
    "fan_in_fan_out": (None, False),
    "layer_replication": (None, []),
    "lora_bias": (None, False),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "use_dora": (None, False),
}


@dataclass(frozen=True, eq=False)
class Adapter:
    """One adapter, its factors joined as the model's products are, by layer and product."""

    name: str
    rank: int
    pairs: Mapping[tuple[int, str], Pair] = field(repr=False)


class Adapters:
    """The adapters of one model by name; any thread may ask, load and unload."""

    def __init__(self, model: object) -> None:
        self._model = model
        self._loaded: dict[str, Adapter] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return sorted(self._loaded)

    def get(self, name: str) -> Adapter | None:
        """Return the adapter of that name; None for any other name, which means the model itself."""
        return self._loaded.get(name)

    def load(self, name: str, folder: Path) -> Adapter:
        """Read an adapter and answer under its name from now on; one of the same name gives way to it."""
        from serving.engines.llama import Llama

        if not isinstance(self._model, Llama):
            raise Invalid("this model takes no adapters", hint="models built like Llama, Mistral, Qwen2 or Qwen3 do")
        with self._lock:
            adapter = read_adapter(name, folder, self._model)
            self._loaded[name] = adapter
        return adapter

    def unload(self, name: str) -> None:
        """Answer under this name no more; what is being answered with it goes on."""
        with self._lock:
            if self._loaded.pop(name, None) is None:
                raise NotFound(f"no adapter {name!r}", hint=f"loaded: {', '.join(self.names) or 'none'}")


def read_adapter(name: str, folder: Path, model: Llama) -> Adapter:
    """Read the adapter in a folder, or say what of it this model cannot use."""
    config = _config(folder)
    factors = _factors(folder)
    ranks = {down.shape[0] for down, _ in factors.values()}
    rank = max(ranks)
    if rank > HIGHEST_RANK:
        raise Invalid(f"adapter {name!r} has rank {rank}; the highest is {HIGHEST_RANK}")
    pairs: dict[tuple[int, str], Pair] = {}
    for layer in sorted({layer for layer, _ in factors}):
        if layer >= len(model.layers):
            raise Invalid(f"adapter {name!r} changes layer {layer}; the model has {len(model.layers)}")
        for product, sizes in model.products.items():
            found = {part: factors.pop((layer, part)) for part in sizes if (layer, part) in factors}
            if found:
                pairs[layer, product] = _joined(name, found, sizes, scaled=_scaling(config), like=model)
    if factors:
        odd = ", ".join(sorted({part for _, part in factors}))
        raise Invalid(f"adapter {name!r} changes {odd}, which this model does not have")
    return Adapter(name, rank, pairs)


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text())
    except FileNotFoundError:
        raise NotFound(f"no adapter in {str(folder)!r}", hint=f"an adapter's folder has an {CONFIG}") from None
    except ValueError as error:
        raise Invalid(f"{folder / CONFIG} is not JSON: {error}") from None
    if not isinstance(config, dict) or str(config.get("peft_type")).upper() != "LORA":
        raise Invalid(f"{folder / CONFIG} is not of a LoRA adapter")
    for key, plain in PLAIN.items():
        if config.get(key) not in plain:
            raise Invalid(f"{folder / CONFIG}: {key!r} is {config[key]!r}", hint="only plain LoRA can be served")
    if not isinstance(config.get("r"), int) or config["r"] < 1:
        raise Invalid(f"{folder / CONFIG}: 'r' must be a rank of at least 1, not {config.get('r')!r}")
    return config


def _scaling(config: Mapping[str, Any]) -> dict[int, float]:
    """Return by rank how much an adapter counts."""
    alpha = float(config.get("lora_alpha") or config["r"])
    ranks: Iterable[int] = {config["r"], *(config.get("rank_pattern") or {}).values()}
    return {rank: alpha / (math.sqrt(rank) if config.get("use_rslora") else rank) for rank in ranks}


def _factors(folder: Path) -> dict[tuple[int, str], Pair]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        hint = "adapters in pickles are not opened: save them with safe_serialization=True"
        raise NotFound(f"{str(folder)!r} has no {WEIGHTS}", hint=hint)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise Invalid(f"{path} cannot be read: {error}") from None
    found: dict[tuple[int, str], dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        matched = _KEY.fullmatch(key)
        if matched is None:
            raise Invalid(f"{path} holds {key!r}, which is no part of a layer that can be adapted")
        found.setdefault((int(matched[1]), matched[2]), {})[matched[3]] = tensor
    lone = [f"{layer}.{part}" for (layer, part), factors in found.items() if len(factors) != 2]
    if lone or not found:
        raise Invalid(f"{path} lacks a factor of {', '.join(lone) or 'everything'}")
    return {place: (factors["A"], factors["B"]) for place, factors in found.items()}


def _joined(
    name: str,
    found: Mapping[str, Pair],
    sizes: Mapping[str, tuple[int, int]],
    *,
    scaled: Mapping[int, float],
    like: Llama,
) -> Pair:
    """Return the factors of several modules as those of the product that joins them."""
    downs: list[torch.Tensor] = []
    ups: list[torch.Tensor] = []
    for part, (read, given) in sizes.items():
        if part not in found:
            ups.append(torch.zeros(given, 0))
            continue
        down, up = (factor.float() for factor in found[part])
        rank = down.shape[0]
        if down.shape != (rank, read) or up.shape != (given, rank) or rank not in scaled:
            raise Invalid(
                f"adapter {name!r} does not fit {part}: {_shape(down)} and {_shape(up)} where the model has "
                f"{read} in and {given} out, and its file says rank {', '.join(map(str, sorted(scaled)))}"
            )
        downs.append(down)
        ups.append(up * scaled[rank])
    down, up = torch.cat(downs).T.contiguous(), torch.block_diag(*ups).T.contiguous()
    return down.to(like.device, like.dtype), up.to(like.device, like.dtype)


def _shape(tensor: torch.Tensor) -> str:
    sizes: Sequence[int] = tensor.shape
    return " x ".join(map(str, sizes))
