"""The next token of each row, chosen as its request asked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch

from serving.engines.requests import Sampling

NOT_FINITE = "the model produced numbers that are not finite"


class Chooser:
    """One answer's way of choosing, with its own random numbers: the same seed gives the same choices."""

    def __init__(self, sampling: Sampling) -> None:
        self.greedy = sampling.temperature == 0 or sampling.top_p == 0
        self._temperature = sampling.temperature
        self._top_p = sampling.top_p
        self._random = torch.Generator()
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._random.manual_seed(seed)

    def choose(self, logits: torch.Tensor) -> int:
        """Return a token drawn from one row of logits."""
        weights = torch.softmax(logits.to("cpu", torch.float64) / self._temperature, dim=-1)
        if self._top_p < 1:
            ordered, tokens = weights.sort(descending=True)
            before = ordered.cumsum(0) - ordered  # the token that crosses top_p is kept
            ordered[before >= self._top_p] = 0
            return int(tokens[torch.multinomial(ordered, 1, generator=self._random)])
        return int(torch.multinomial(weights, 1, generator=self._random))


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[int | None]:
    """Return the next token of each row; None where the row's numbers are not finite."""
    best, tokens = logits.float().max(dim=-1)
    greedy: list[int] = tokens.tolist()
    sound: list[bool] = torch.isfinite(best).tolist()  # NaN and +inf win every maximum
    return [
        None if not fine else token if chooser.greedy else chooser.choose(row)
        for fine, token, chooser, row in zip(sound, greedy, choosers, logits, strict=True)
    ]
