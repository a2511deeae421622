"""How well texts fit a query: by a cross-encoder that reads both at once, or by the angle between two embeddings.

A cross-encoder of one output scores by its sigmoid, from 0 to 1, and one of two classes by the probability of the
second. An embedding model scores by the cosine of the two vectors, from -1 to 1.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from serving.engines.embedding import AT_ONCE, EmbeddingModel
from serving.engines.fields import wrong
from serving.engines.sampling import NOT_FINITE
from serving.engines.weights import context_length, device, loading
from serving.openai_errors import Refusal

Pair = tuple[str, str]


@dataclass(frozen=True)
class CrossEncoder:
    """A loaded model that scores pairs of texts; safe to call from many threads, one at a time computes."""

    model: Any
    tokenizer: Any
    context_length: int
    lock: threading.Lock = field(default_factory=threading.Lock)

    def score(self, pairs: Sequence[Pair], param: str) -> tuple[list[float], int]:
        """Return the score of each pair, and how many tokens were read."""
        rows = [self.tokenizer(*pair, truncation=False) for pair in pairs]
        longest = max(len(row["input_ids"]) for row in rows)
        if longest > self.context_length:
            raise wrong(
                f"this model reads {self.context_length} tokens, and a pair has {longest}",
                param=param,
                code="context_length_exceeded",
            )
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]["input_ids"]))
        scores: dict[int, float] = {}
        for start in range(0, len(order), AT_ONCE):
            chosen = order[start : start + AT_ONCE]
            with self.lock, torch.inference_mode():
                batch = self.tokenizer.pad([rows[row] for row in chosen], return_tensors="pt").to(self.model.device)
                logits = self.model(**batch).logits.float().cpu()
            if not torch.isfinite(logits).all():
                raise Refusal(500, NOT_FINITE, code="engine_failed")
            found = logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)[:, 1]
            scores.update(zip(chosen, found.tolist(), strict=True))
        return [scores[row] for row in range(len(rows))], sum(len(row["input_ids"]) for row in rows)


@dataclass(frozen=True)
class Cosines:
    """Scores by an embedding model; a text that stands in several pairs is embedded once."""

    model: EmbeddingModel

    def score(self, pairs: Sequence[Pair], param: str) -> tuple[list[float], int]:
        """Return the cosine of each pair, and how many tokens were read."""
        distinct = list(dict.fromkeys(text for pair in pairs for text in pair))
        try:
            rows = self.model.read(distinct)
        except Refusal as refusal:
            raise wrong(str(refusal), param=param, code=refusal.code) from None
        vectors = dict(zip(distinct, torch.tensor(self.model.embed(rows)), strict=True))
        scores = [float(vectors[left] @ vectors[right]) for left, right in pairs]
        return scores, sum(len(row) for row in rows)


Scorer = CrossEncoder | Cosines


def load_rerank(folder: Path) -> CrossEncoder:
    """Load a cross-encoder; always in float32, as embedding models are."""
    with loading(folder):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        if model.config.num_labels > 2:
            raise ValueError(f"it has {model.config.num_labels} classes; a score comes from one output or two classes")
    model = model.to(device()).eval()
    return CrossEncoder(model, tokenizer, context_length(model, tokenizer))
