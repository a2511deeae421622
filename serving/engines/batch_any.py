"""The batch of any causal model of transformers, by its own forward pass: rows are padded on the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from serving.engines.adapters import Adapter
from serving.engines.batch import Part, Reading, positions_for


class AnyBatch:
    """A `Batch` over transformers' cache, which is copied at each step and cannot be shared."""

    shares = False

    def __init__(self, model: Any) -> None:
        self._model = model
        self._device = model.device
        self._cache: DynamicCache | None = None
        self._lengths: list[int] = []  # tokens kept of each row; the padding before them is what is left
        self.positions = positions_for(_bytes_of_a_position(model), model.device)

    def open(self, room: int, adapter: Adapter | None) -> Reading:  # noqa: ARG002  it grows, and no adapter loads
        return Reading(DynamicCache())

    def read(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        return [self._read(part) for part in parts]

    def _read(self, part: Part) -> torch.Tensor:
        ids = torch.tensor([part.tokens], device=self._device)
        start = part.reading.length
        part.reading.length += len(part.tokens)
        positions = torch.arange(start, part.reading.length, device=self._device)[None]
        logits = self._forward(ids, positions, part.reading.held, None, wanted=max(1, part.wanted))[0]
        return logits[len(logits) - part.wanted :]

    def join(self, reading: Reading) -> None:
        if self._cache is None:
            self._cache = reading.held
        else:
            width = max(*self._lengths, reading.length)
            for ours, theirs in zip(self._cache.layers, reading.held.layers, strict=True):
                ours.keys = torch.cat([_padded(ours.keys, width), _padded(theirs.keys, width)])
                ours.values = torch.cat([_padded(ours.values, width), _padded(theirs.values, width)])
        self._lengths.append(reading.length)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        ids = torch.tensor(tokens, device=self._device)[:, None]
        positions = torch.tensor(self._lengths, device=self._device)[:, None]
        self._lengths = [length + 1 for length in self._lengths]
        return self._forward(ids, positions, self._cache, self._mask(), wanted=1)[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        self._lengths = [self._lengths[row] for row in rows]
        if not rows or self._cache is None:
            self._cache = None
            return
        chosen = torch.tensor(rows, device=self._device)
        width = max(self._lengths)
        for layer in self._cache.layers:
            layer.keys = layer.keys[:, :, -width:].index_select(0, chosen)
            layer.values = layer.values[:, :, -width:].index_select(0, chosen)

    def taken(self, row: int | Reading, start: int, stop: int) -> torch.Tensor:
        raise NotImplementedError("`shares` is false")

    def put(self, reading: Reading, taken: torch.Tensor) -> None:
        raise NotImplementedError("`shares` is false")

    def _mask(self) -> torch.Tensor | None:
        if len(set(self._lengths)) == 1:
            return None
        width = max(self._lengths)
        columns = torch.arange(width, device=self._device)[None]
        lengths = torch.tensor(self._lengths, device=self._device)[:, None]
        return (columns >= width - lengths).long()

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        cache: DynamicCache | None,
        mask: torch.Tensor | None,
        *,
        wanted: int,
    ) -> torch.Tensor:
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=wanted,
        )
        logits: torch.Tensor = output.logits
        return logits


def _padded(rows: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(rows, (0, 0, width - rows.shape[2], 0))


def _bytes_of_a_position(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * int(heads) * int(size) * int(model.dtype.itemsize)
