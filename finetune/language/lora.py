"""LoRA's product in one step: the frozen weight's product, and the adapter's added in place.

PEFT adds `B(A(x)) * scale` by three more passes over the output. Where nothing else happens to it - no dropout, no
DoRA, one kind of numbers - the same sum is one product that adds to what is there, forward and backward.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor


def join(model: Any) -> int:
    """Have the plain LoRA layers of a PEFT model compute so; return how many there are."""
    from peft.tuners.lora import Linear

    joined = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer):
            layer.forward = types.MethodType(_forward, layer)
            joined += 1
    return joined


def _is_plain(layer: Any) -> bool:
    (name,) = layer.active_adapters or ("",)
    weight = layer.base_layer.weight
    return (
        type(layer.base_layer) is torch.nn.Linear
        and name in layer.lora_A
        and name not in layer.lora_variant
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
        and layer.lora_A[name].weight.dtype == weight.dtype
        and not weight.requires_grad
    )


def _forward(self: Any, x: Tensor, *given: Any, **named: Any) -> Any:
    (name,) = self.active_adapters
    down, up = self.lora_A[name].weight, self.lora_B[name].weight
    if self.disable_adapters or self.merged or x.dtype != down.dtype or torch.is_autocast_enabled(x.device.type):
        return type(self).forward(self, x, *given, **named)
    base = self.base_layer
    return _Joined.apply(x, base.weight, base.bias, down, up, self.scaling[name])


class _Joined(torch.autograd.Function):  # type: ignore[misc]
    """`x W' + b + s (x A') B'`; of it `x` and `x A'` are kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        narrow = flat @ down.T
        out = torch.nn.functional.linear(flat, weight, bias)
        out.addmm_(narrow, up.T, alpha=scale)
        ctx.save_for_backward(flat, narrow, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, narrow, weight, down, up = ctx.saved_tensors
        given = upstream.reshape(-1, upstream.shape[-1])
        back = (given @ up).mul_(ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (given @ weight).addmm_(back, down).view(ctx.shape)
        return to_x, None, None, back.T @ flat, (given.T @ narrow).mul_(ctx.scale), None
