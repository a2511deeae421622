"""The running batch: rows that decode together, which are read first, join and leave between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from serving.engines.adapters import Adapter

CPU_BYTES = 1_500_000_000  # for keys and values, where memory is everybody's
CUDA_SHARE = 0.6  # of what is free once the weights are there


@dataclass(eq=False)
class Reading:
    """A prompt being read, with keys and values of its own until it joins the batch."""

    held: Any
    length: int = 0  # tokens read
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens that continue a prompt, and after how many of the last the logits are wanted."""

    reading: Reading
    tokens: Sequence[int]
    wanted: int = 1


class Batch(Protocol):
    """The keys and values of the running answers, one row each; all methods are for the decode thread.

    `positions` bounds rows times width. Only where `shares` holds can the keys and values of a prefix be taken and put.
    """

    positions: int
    shares: bool

    def open(self, room: int, adapter: Adapter | None) -> Reading:
        """Begin to read a prompt of `room` tokens."""

    def read(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """Read parts of prompts, one of each, and return the logits that are wanted of each."""

    def join(self, reading: Reading) -> None:
        """Add a row whose prompt has been read."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow, one row each."""

    def keep(self, rows: Sequence[int]) -> None:
        """Let every other row leave; those that stay are numbered anew in the order given."""

    def taken(self, row: int | Reading, start: int, stop: int) -> torch.Tensor:
        """Return a copy of the keys and values of some positions of a row, or of a prompt that was read."""

    def put(self, reading: Reading, taken: torch.Tensor) -> None:
        """Continue a prompt by keys and values that were taken: those tokens need not be read."""


def batch_of(model: Any) -> Batch:
    """Return an empty batch for a model of ours or of transformers'."""
    from serving.engines.batch_any import AnyBatch
    from serving.engines.batch_llama import LlamaBatch
    from serving.engines.llama import Llama, is_built_alike

    if isinstance(model, Llama):
        return LlamaBatch(model)
    return LlamaBatch(Llama(model)) if is_built_alike(model) else AnyBatch(model)


def positions_for(each: int, device: torch.device) -> int:
    """Return for how many positions of `each` bytes there is memory."""
    room = CPU_BYTES
    if device.type == "cuda":
        room = int(torch.cuda.mem_get_info(device)[0] * CUDA_SHARE)
    return max(1, room // each)
