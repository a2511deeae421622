"""Tokens drawn from many rows of logits at once: a row's token depends on its own logits and number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

LIKELIEST = 512  # tokens that are put in order first: they nearly always reach top_p, and all of them are never needed


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row is drawn from, and the number from 0 to 1 that decides."""

    temperature: float
    top_p: float
    number: float


def draw(logits: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """Return a token for each row."""
    temperatures = torch.tensor([[each.temperature] for each in draws], device=logits.device)
    weights = torch.softmax(logits.float() / temperatures, dim=-1)
    found = [0] * len(draws)
    whole = [row for row, each in enumerate(draws) if each.top_p >= 1]
    if whole:
        for row, place in zip(whole, _places(weights[whole], [draws[row].number for row in whole]), strict=True):
            found[row] = place
    best = [row for row, each in enumerate(draws) if each.top_p < 1]
    if best:
        for row, token in zip(best, _from_the_best(weights[best], [draws[row] for row in best]), strict=True):
            found[row] = token
    return found


def _from_the_best(weights: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """Draw from the likeliest tokens of each row that together reach top_p; the one that crosses it is kept."""
    wanted = torch.tensor([[each.top_p] for each in draws], device=weights.device)
    ordered, tokens = weights.topk(min(LIKELIEST, weights.shape[-1]), dim=-1)
    if bool((ordered.sum(dim=-1, keepdim=True) < wanted).any()):
        ordered, tokens = weights.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    places = _places(ordered.masked_fill(before >= wanted, 0.0), [each.number for each in draws])
    return [int(tokens[row, place]) for row, place in enumerate(places)]


def _places(weights: torch.Tensor, numbers: Sequence[float]) -> list[int]:
    """Return where in each row the running sum of the weights passes the row's number."""
    sums = weights.cumsum(dim=-1)
    most = sums[:, -1:]
    wanted = torch.tensor([[number] for number in numbers], device=weights.device) * most
    # Just below the sum of all, whatever was rounded: what has no weight is never met.
    wanted = torch.minimum(wanted, torch.nextafter(most, torch.zeros_like(most)))
    places: list[int] = torch.searchsorted(sums, wanted, right=True)[:, 0].tolist()
    return places
