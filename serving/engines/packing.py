"""Products of a model's weights, which on a CPU are laid out once as its matrix units read them.

PyTorch would bring the weights into this layout anew for each product. It packs once when it compiles a model, with the
two operators used here; compiling itself takes minutes, so only they are taken.

A lone row waits for the memory that holds the weights, not for the processor. Where weights were published in 16 bits
and computed in 32, they are kept in float16 as well, and such a row reads half as much (`Halves`).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

ROWS = 8  # the batch the layout is tuned for; it is right for any other

Product = Callable[[torch.Tensor], torch.Tensor]


class Halves:
    """Whether a lone row is multiplied in float16, summed in float32; its owner ends that where numbers outgrow it.

    Float16 has three bits more than bfloat16, in which models are published, but ends at 65,504.
    """

    def __init__(self, *, on: bool) -> None:
        self.on = on


def product(linear: Sequence[Any], halves: Halves | None = None) -> Product:
    """Return the product with the weights of these linear layers at once; their results lie side by side."""
    weights = [layer.weight.detach() for layer in linear]
    weight = weights[0] if len(weights) == 1 else torch.cat(weights)
    bias = _bias(linear)
    if not _can_pack(weight):
        return lambda rows: functional.linear(rows, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise
    if halves is None or not halves.on or not (half := weight.half()).isfinite().all():
        return lambda rows: multiply(rows, packed, bias, "none", [], "")
    half_bias = None if bias is None else bias.half()

    def either(rows: torch.Tensor) -> torch.Tensor:
        if len(rows) == 1 and halves.on:
            return functional.linear(rows.half(), half, half_bias).float()
        return multiply(rows, packed, bias, "none", [], "")

    return either


def pack(model: Any) -> int:
    """Replace the linear layers of a model on a CPU by packed ones, and return how many; elsewhere change nothing."""
    linear = [(name, module) for name, module in model.named_modules() if type(module) is torch.nn.Linear]
    if not linear or not _can_pack(linear[0][1].weight):
        return 0
    with torch.inference_mode():
        for name, module in linear:
            parent, _, own = name.rpartition(".")
            packed = torch.nn.Module()
            packed.forward = product([module])
            setattr(model.get_submodule(parent), own, packed)
    return len(linear)


def _bias(linear: Sequence[Any]) -> torch.Tensor | None:
    if all(layer.bias is None for layer in linear):
        return None
    own = [
        torch.zeros(layer.out_features, dtype=layer.weight.dtype) if layer.bias is None else layer.bias.detach()
        for layer in linear
    ]
    return torch.cat([each.to(linear[0].weight.device) for each in own])


def _can_pack(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(weight.dtype == torch.float32)
