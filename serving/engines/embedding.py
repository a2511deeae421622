"""An embedding model: texts to unit vectors, the mean of the last layer over each text's tokens."""

from __future__ import annotations

import base64
import json
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from serving.engines.fields import wrong
from serving.engines.requests import Embedding
from serving.engines.sampling import NOT_FINITE
from serving.engines.weights import context_length, device, loading
from serving.openai_errors import Refusal

AT_ONCE = 32  # texts computed together; sorted by length, so that little padding is computed


@dataclass(frozen=True)
class EmbeddingModel:
    """A loaded encoder; `embed` is safe to call from many threads, one at a time computes."""

    model: Any
    tokenizer: Any
    context_length: int
    dimensions: int
    nested: tuple[int, ...] | None = ()  # to which lengths its vectors may be cut, None: to any; most to none
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self, ask: Embedding) -> list[list[int]]:
        """Return the inputs of a request as token numbers, or refuse what the model cannot read."""
        if ask.dimensions not in (None, self.dimensions) and not self._may_cut(ask.dimensions or 0):
            raise wrong(f"this model's vectors have {self._lengths()} dimensions", param="dimensions")
        return self.read(ask.inputs)

    def read(self, inputs: Sequence[str | tuple[int, ...]]) -> list[list[int]]:
        """Return texts as token numbers, or refuse what the model cannot read."""
        rows = [
            self.tokenizer(item, truncation=False)["input_ids"] if isinstance(item, str) else self._checked(item)
            for item in inputs
        ]
        longest = max(len(row) for row in rows)
        if longest > self.context_length:
            raise wrong(
                f"this model reads {self.context_length} tokens, and an input has {longest}",
                param="input",
                code="context_length_exceeded",
            )
        return rows

    def embed(self, rows: Sequence[Sequence[int]], dimensions: int | None = None) -> list[list[float]]:
        """Return one unit vector a row, in order, of the first so many dimensions."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        vectors: dict[int, list[float]] = {}
        for start in range(0, len(order), AT_ONCE):
            chosen = order[start : start + AT_ONCE]
            with self.lock, torch.inference_mode():
                found = self._mean([rows[row] for row in chosen], dimensions)
            if not torch.isfinite(found).all():
                raise Refusal(500, NOT_FINITE, code="engine_failed")
            vectors.update(zip(chosen, found.tolist(), strict=True))
        return [vectors[row] for row in range(len(rows))]

    def _mean(self, rows: Sequence[Sequence[int]], dimensions: int | None) -> torch.Tensor:
        width = max(len(row) for row in rows)
        place = self.model.device
        ids = torch.tensor([[*row, *[self.tokenizer.pad_token_id or 0] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(width)[None] < lengths[:, None]).long().to(place)
        states = self.model(input_ids=ids.to(place), attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        means = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(means[:, :dimensions], dim=1).float().cpu()

    def _may_cut(self, dimensions: int) -> bool:
        return dimensions < self.dimensions and (self.nested is None or dimensions in self.nested)

    def _lengths(self) -> str:
        if self.nested is None:
            return f"up to {self.dimensions}"
        return " or ".join(map(str, sorted({self.dimensions, *self.nested})))

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        if max(tokens) >= len(self.tokenizer):
            raise wrong(f"token {max(tokens)} is not in the vocabulary of {len(self.tokenizer)}", param="input")
        return list(tokens)


def as_base64(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI packs it: little-endian float32, base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def load_embedding(folder: Path) -> EmbeddingModel:
    """Load an encoder; always in float32, where the vectors of small models are worth their cost."""
    with loading(folder):
        from transformers import AutoModel, AutoTokenizer

        _refuse_other_pooling(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model = model.to(device()).eval()
    length = context_length(model, tokenizer)
    return EmbeddingModel(model, tokenizer, length, model.config.hidden_size, _nested(model.config))


def _nested(config: Any) -> tuple[int, ...] | None:
    """Return to which lengths the vectors may be cut, as a model trained for it says in its config.json."""
    lengths = getattr(config, "matryoshka_dimensions", None)
    if lengths:
        return tuple(int(length) for length in lengths)
    return None if getattr(config, "is_matryoshka", False) else ()


def _refuse_other_pooling(folder: Path) -> None:
    told = folder / "1_Pooling" / "config.json"
    if not told.is_file():
        return
    pooling = json.loads(told.read_text())  # `pooling_mode` is sentence-transformers 6, before each mode had a switch
    if pooling.get("pooling_mode") != "mean" and not pooling.get("pooling_mode_mean_tokens"):
        raise ValueError("its vectors are not the mean over tokens, the only way this engine knows")
