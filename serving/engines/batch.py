"""The running batch: rows that decode together, padded on the left, which join and leave between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache


class Batch:
    """The keys and values of the running answers, one row each; all methods are for the decode thread."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device = model.device
        self._cache: DynamicCache | None = None
        self._lengths: list[int] = []  # tokens kept of each row; the padding before them is what is left

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def width(self) -> int:
        """How many positions every row takes, padding included."""
        return max(self._lengths, default=0)

    def read(self, tokens: Sequence[int], cache: DynamicCache, *, every: bool = False) -> torch.Tensor:
        """Read a part of a prompt into its own cache and return the logits after its last token, or after every one."""
        ids = torch.tensor([tokens], device=self._device)
        start = cache.get_seq_length()
        positions = torch.arange(start, start + len(tokens), device=self._device)[None]
        return self._forward(ids, positions, cache, None, keep=0 if every else 1)[0]

    def join(self, cache: DynamicCache, length: int) -> None:
        """Add a row whose prompt of `length` tokens has been read."""
        if self._cache is None:
            self._cache = cache
        else:
            width = max(self.width, length)
            for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
                ours.keys = torch.cat([_padded(ours.keys, width), _padded(theirs.keys, width)])
                ours.values = torch.cat([_padded(ours.values, width), _padded(theirs.values, width)])
        self._lengths.append(length)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row and return the logits that follow, one row each."""
        ids = torch.tensor(tokens, device=self._device)[:, None]
        positions = torch.tensor(self._lengths, device=self._device)[:, None]
        self._lengths = [length + 1 for length in self._lengths]
        return self._forward(ids, positions, self._cache, self._mask())[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Let every other row leave, and drop the padding that nobody needs any more."""
        if len(rows) == len(self._lengths):
            return
        self._lengths = [self._lengths[row] for row in rows]
        if not rows or self._cache is None:
            self._cache = None
            return
        chosen = torch.tensor(rows, device=self._device)
        width = self.width
        for layer in self._cache.layers:
            layer.keys = layer.keys[:, :, -width:].index_select(0, chosen)
            layer.values = layer.values[:, :, -width:].index_select(0, chosen)

    def _mask(self) -> torch.Tensor | None:
        if len(set(self._lengths)) == 1:
            return None
        columns = torch.arange(self.width, device=self._device)[None]
        lengths = torch.tensor(self._lengths, device=self._device)[:, None]
        return (columns >= self.width - lengths).long()

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        cache: DynamicCache | None,
        mask: torch.Tensor | None,
        *,
        keep: int = 1,
    ) -> torch.Tensor:
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,  # the last ones; 0: all
        )
        logits: torch.Tensor = output.logits
        return logits


def _padded(rows: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(rows, (0, 0, width - rows.shape[2], 0))
