"""The batch of a model with our own forward pass: keys and values lie where they will stay, nothing is padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from serving.engines.adapters import Adapter
from serving.engines.batch import Part, Reading, positions_for
from serving.engines.llama import Adapted, Llama

ROOM = 128  # positions that are made at least when rows grow


class LlamaBatch:
    """A `Batch`: for each layer one tensor (row, position, keys and values of all heads)."""

    shares = True

    def __init__(self, model: Llama) -> None:
        self._model = model
        self._wide = 2 * model.kv_heads * model.size
        self._held = [self._empty(1, 0) for _ in model.layers]
        self._lengths: list[int] = []
        self._adapters: list[Adapter | None] = []
        self._adapted: Sequence[Adapted] | None = ()  # None: to be found again, the rows have changed
        self.positions = positions_for(len(model.layers) * self._wide * model.dtype.itemsize, model.device)

    def open(self, room: int, adapter: Adapter | None) -> Reading:
        return Reading(self._empty(len(self._held), room), adapter=adapter)

    def read(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        tokens = self._numbers([token for part in parts for token in part.tokens])
        positions = self._numbers([part.reading.length + place for part in parts for place in range(len(part.tokens))])
        ends = [0]
        for part in parts:
            ends.append(ends[-1] + len(part.tokens))
        spans = list(zip(parts, ends, ends[1:], strict=False))
        masks = [self._causal(part) for part in parts]

        def attend(layer: int, joined: torch.Tensor) -> torch.Tensor:
            found = [
                self._look_back(part.reading, layer, joined[start:stop], mask)
                for (part, start, stop), mask in zip(spans, masks, strict=True)
            ]
            return found[0] if len(found) == 1 else torch.cat(found)

        adapters = [part.reading.adapter for part in parts for _ in part.tokens]
        states = self._model.states(tokens, positions, attend, self._grouped(adapters))
        for part in parts:
            part.reading.length += len(part.tokens)
        wanted = [place for part, _, stop in spans for place in range(stop - part.wanted, stop)]
        logits = self._model.logits(states[self._numbers(wanted)]) if wanted else states[:0]
        return list(logits.split([part.wanted for part in parts]))

    def join(self, reading: Reading) -> None:
        row = len(self._lengths)
        self._grow(row + 1, reading.length)
        for held, own in zip(self._held, reading.held, strict=True):
            held[row, : reading.length] = own[: reading.length]
            held[row, reading.length :] = 0  # what a row before left there may not be finite, and 0 x NaN is NaN
        self._lengths.append(reading.length)
        self._adapters.append(reading.adapter)
        self._adapted = None

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        rows, lengths = len(self._lengths), self._lengths
        width = max(lengths) + 1
        self._grow(rows, width)
        if self._adapted is None:
            self._adapted = self._grouped(self._adapters)
        capacity = self._held[0].shape[1]
        positions = self._numbers(lengths)
        places = self._numbers([row * capacity + length for row, length in enumerate(lengths)])
        mask = None if len(set(lengths)) == 1 else self._seen(positions, width)
        model, wide = self._model, self._wide

        def attend(layer: int, joined: torch.Tensor) -> torch.Tensor:
            held = self._held[layer]
            held.view(-1, wide).index_copy_(0, places, joined[:, model.heads :].reshape(rows, wide))
            heads = held[:rows, :width].view(rows, width, 2 * model.kv_heads, model.size).transpose(1, 2)
            # The queries that share a head of keys stand where positions would: none of the keys is repeated.
            queries = joined[:, : model.heads].view(rows, model.kv_heads, -1, model.size)
            found = functional.scaled_dot_product_attention(
                queries, heads[:, : model.kv_heads], heads[:, model.kv_heads :], attn_mask=mask
            )
            return found.reshape(rows, -1)

        states = model.states(self._numbers(tokens), positions, attend, self._adapted)
        self._lengths = [length + 1 for length in lengths]
        return model.logits(states)

    def keep(self, rows: Sequence[int]) -> None:
        for row, old in enumerate(rows):
            if row != old:
                for held in self._held:
                    held[row] = held[old]
        self._lengths = [self._lengths[row] for row in rows]
        self._adapters = [self._adapters[row] for row in rows]
        self._adapted = None
        if not rows:
            self._held = [self._empty(1, 0) for _ in self._held]

    def taken(self, row: int | Reading, start: int, stop: int) -> torch.Tensor:
        if isinstance(row, Reading):
            copy: torch.Tensor = row.held[:, start:stop].clone()
            return copy
        return torch.stack([held[row, start:stop] for held in self._held])

    def put(self, reading: Reading, taken: torch.Tensor) -> None:
        end = reading.length + taken.shape[1]
        reading.held[:, reading.length : end] = taken
        reading.length = end

    def _look_back(self, reading: Reading, layer: int, joined: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        model, count = self._model, len(joined)
        end = reading.length + count
        held = reading.held[layer]
        held[reading.length : end] = joined[:, model.heads :].reshape(count, self._wide)
        heads = held[:end].view(end, 2 * model.kv_heads, 1, model.size).permute(1, 2, 0, 3)
        queries = joined[:, : model.heads].view(count, model.kv_heads, -1, model.size).permute(1, 2, 0, 3)
        heads = heads.expand(-1, queries.shape[1], -1, -1)
        found = functional.scaled_dot_product_attention(
            queries, heads[: model.kv_heads], heads[model.kv_heads :], attn_mask=mask, is_causal=mask is None
        )
        return found.permute(2, 0, 1, 3).reshape(count, -1)

    def _causal(self, part: Part) -> torch.Tensor | None:
        """Return which position sees which; None where the part is the beginning, which has a faster way."""
        start, count = part.reading.length, len(part.tokens)
        if start == 0:
            return None
        columns = torch.arange(start + count, device=self._model.device)
        return columns[None] <= (columns[start:])[:, None]

    def _seen(self, lengths: torch.Tensor, width: int) -> torch.Tensor:
        """Return what is added to the scores of each row: nothing where it has a token, else minus infinity."""
        columns = torch.arange(width, device=self._model.device)
        mask = torch.zeros(len(lengths), width, dtype=self._model.dtype, device=self._model.device)
        return mask.masked_fill_(columns[None] > lengths[:, None], float("-inf"))[:, None, None]

    def _grouped(self, adapters: Sequence[Adapter | None]) -> list[Adapted]:
        distinct = {id(adapter): adapter for adapter in adapters if adapter}
        return [
            Adapted(
                None
                if all(other is adapter for other in adapters)
                else self._numbers([place for place, other in enumerate(adapters) if other is adapter]),
                adapter.pairs,
            )
            for adapter in distinct.values()
        ]

    def _grow(self, rows: int, width: int) -> None:
        """Make room for so many rows of such a width, and some more, so that it is seldom done."""
        had_rows, had_width = self._held[0].shape[:2]
        if rows <= had_rows and width <= had_width:
            return
        new_rows = had_rows if rows <= had_rows else max(rows, 2 * had_rows)
        new_width = had_width if width <= had_width else max(width + ROOM, had_width + had_width // 4)
        used = len(self._lengths)
        for layer, held in enumerate(self._held):
            grown = self._empty(new_rows, new_width)
            grown[:used, :had_width] = held[:used]
            self._held[layer] = grown

    def _empty(self, first: int, positions: int) -> torch.Tensor:
        return torch.zeros(first, positions, self._wide, dtype=self._model.dtype, device=self._model.device)

    def _numbers(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, device=self._model.device, dtype=torch.long)
