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

from serving.engines.requests import Embedding, wrong
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
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self, ask: Embedding) -> list[list[int]]:
        """Return the inputs of a request as token numbers, or refuse what the model cannot read."""
        if ask.dimensions not in (None, self.dimensions):
            raise wrong(f"this model's vectors have {self.dimensions} dimensions", param="dimensions")
        rows = [
            self.tokenizer(item, truncation=False)["input_ids"] if isinstance(item, str) else self._checked(item)
            for item in ask.inputs
        ]
        longest = max(len(row) for row in rows)
        if longest > self.context_length:
            raise wrong(
                f"this model reads {self.context_length} tokens, and an input has {longest}",
                param="input",
                code="context_length_exceeded",
            )
        return rows

    def embed(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return one unit vector a row, in order."""
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        vectors: dict[int, list[float]] = {}
        for start in range(0, len(order), AT_ONCE):
            chosen = order[start : start + AT_ONCE]
            with self.lock, torch.inference_mode():
                found = self._mean([rows[row] for row in chosen])
            if not torch.isfinite(found).all():
                raise Refusal(500, NOT_FINITE, code="engine_failed")
            vectors.update(zip(chosen, found.tolist(), strict=True))
        return [vectors[row] for row in range(len(rows))]

    def _mean(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        width = max(len(row) for row in rows)
        place = self.model.device
        ids = torch.tensor([[*row, *[self.tokenizer.pad_token_id or 0] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(width)[None] < lengths[:, None]).long().to(place)
        states = self.model(input_ids=ids.to(place), attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        means = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(means, dim=1).float().cpu()

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
    return EmbeddingModel(model, tokenizer, context_length(model, tokenizer), model.config.hidden_size)


def _refuse_other_pooling(folder: Path) -> None:
    told = folder / "1_Pooling" / "config.json"
    if told.is_file() and not json.loads(told.read_text()).get("pooling_mode_mean_tokens"):
        raise ValueError("its vectors are not the mean over tokens, the only way this engine knows")
