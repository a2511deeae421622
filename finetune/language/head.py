"""The loss at the tokens that are learnt, and nowhere else: logits of prompts are never computed.

A vocabulary of 49,152 words makes the last product the largest tensor of a step by far. Here it is made for some
tokens at a time, and its gradient with it, so that none of it is kept for the way back.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor

IGNORED = -100
_BYTES = 2**26  # of logits at once
_SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")


def is_plain(config: Any) -> bool:
    """Whether logits are the last product itself, which is all that this loss knows."""
    text = config.get_text_config()
    return all(getattr(text, name, None) in (None, 0, 1) for name in _SCALED)


def put_on(model: Any) -> None:
    """Have `model(..., labels=labels, learnt=True)` return the sum of the loss over all tokens with a label."""
    before = model.forward

    def forward(self: Any, *given: Any, learnt: bool = False, labels: Tensor | None = None, **named: Any) -> Any:
        if not learnt:
            return before(*given, **named) if labels is None else before(*given, labels=labels, **named)
        assert labels is not None  # noqa: S101  the trainer gives them
        hidden = self.base_model(*given, **named, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        mask = wanted != IGNORED
        head = self.get_output_embeddings()
        return summed_loss(hidden[mask], head.weight, wanted[mask], head.bias)

    model.forward = types.MethodType(forward, model)


def summed_loss(hidden: Tensor, weight: Tensor, wanted: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the cross entropies of `hidden @ weight.T` with the wanted tokens, summed."""
    if bias is not None:
        return torch.nn.functional.cross_entropy((hidden @ weight.T + bias).float(), wanted, reduction="sum")
    total: Tensor = _Summed.apply(hidden, weight, wanted)
    return total


class _Summed(torch.autograd.Function):  # type: ignore[misc]
    """Cross entropy some rows at a time; the gradient is made at once, since its upstream is one number."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
        needs_hidden, needs_weight, _ = ctx.needs_input_grad
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        to_hidden = torch.empty_like(hidden) if needs_hidden else None
        to_weight = torch.zeros_like(weight) if needs_weight else None
        rows = max(1, _BYTES // (4 * weight.shape[0]))
        for first in range(0, hidden.shape[0], rows):
            part, target = hidden[first : first + rows], wanted[first : first + rows, None]
            logits = (part @ weight.T).float()
            norm = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (norm - logits.gather(1, target)).sum()
            if to_hidden is None and to_weight is None:
                continue
            logits.sub_(norm).exp_().scatter_add_(1, target, torch.full_like(norm, -1.0))
            error = logits.to(weight.dtype)
            if to_hidden is not None:
                torch.matmul(error, weight, out=to_hidden[first : first + rows])
            if to_weight is not None:
                to_weight.addmm_(error.T, part)
        ctx.save_for_backward(to_hidden, to_weight)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        to_hidden, to_weight = ctx.saved_tensors
        return (
            None if to_hidden is None else to_hidden.mul_(upstream),
            None if to_weight is None else to_weight.mul_(upstream),
            None,
        )
