"""Embedding models: texts that belong together come close, from pairs, triplets, or pairs with a score.

fit([("how do I pay?", "Payments are made by card.")], Path("minilm"), into=Path("support-search"))
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetune.text.classify import Fitted
from finetune.text.settings import Settings, Tell, arguments, listeners, quiet, tokenizer_of, train
from workspace.errors import Invalid

LEARNING_RATE = 5e-5
Row = tuple[str, str] | tuple[str, str, str] | tuple[str, str, float]
_COLUMNS = {"pair": ("anchor", "positive"), "triplet": ("anchor", "positive", "negative"),
            "scored": ("sentence1", "sentence2", "score")}  # fmt: skip


def fit(
    rows: Sequence[Row],
    base: Path,
    *,
    into: Path,
    settings: Settings | None = None,
    held_out: Sequence[Row] | None = None,
    tell: Tell | None = None,
) -> Fitted:
    """Train an embedding model and write it into a folder, which our engine serves at /v1/embeddings.

    Pairs and triplets learn from the other rows of their batch, so large batches teach more; the score of a scored
    pair goes from 0 to 1. A second call with the same `into` goes on from its checkpoint.
    """
    settings = settings or Settings()
    quiet()
    kind = kind_of(rows)
    taught, valid = apart(rows, settings) if held_out is None else (rows, held_out)
    if kind_of(valid) != kind:
        raise Invalid(f"the training rows are {kind} rows and the validation rows {kind_of(valid)} rows")
    tokenizer_of(base)  # says what is wrong with it
    work = into.with_name(f"{into.name}.work")

    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss

    model = SentenceTransformer(str(base), device=None, local_files_only=True)
    model.max_seq_length = min(settings.max_length, model.max_seq_length or settings.max_length)
    loss = CoSENTLoss(model) if kind == "scored" else MultipleNegativesRankingLoss(model)
    columns = _COLUMNS[kind]
    data = [
        Dataset.from_dict(dict(zip(columns, map(list, zip(*part, strict=True)), strict=True)))
        for part in (taught, valid)
    ]
    before = measure(model, valid)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments(
            settings, work, rows=len(taught), learning_rate=LEARNING_RATE, kind=SentenceTransformerTrainingArguments
        ),
        train_dataset=data[0],
        eval_dataset=data[1],
        loss=loss,
        callbacks=listeners(settings, tell),
    )
    train(trainer, work)
    after = measure(model, valid)
    shutil.rmtree(into, ignore_errors=True)
    model.save(str(into), create_model_card=False, safe_serialization=True)
    shutil.rmtree(work, ignore_errors=True)
    return Fitted(
        folder=into, classes=(), metrics={**after, **{f"base_{name}": value for name, value in before.items()}}
    )


def kind_of(rows: Sequence[Row]) -> str:
    """Return what the rows are: pair, triplet or scored; Invalid where they are not all of one kind."""
    if not rows:
        raise Invalid("there are no rows to learn from", hint="is the file empty?")
    kinds = {_kind(row) for row in rows}
    if len(kinds) > 1:
        raise Invalid(f"some rows are {' and others '.join(sorted(kinds))} rows", hint="all rows are of one kind")
    for number, row in enumerate(rows, start=1):
        if any(isinstance(part, str) and not part.strip() for part in row):
            raise Invalid(f"row {number} has an empty text")
        if len(row) == 3 and not isinstance(row[2], str) and not 0 <= row[2] <= 1:
            raise Invalid(f"row {number}: the score {row[2]} is not between 0 and 1", hint="divide by the highest")
    return next(iter(kinds))


def apart(rows: Sequence[Any], settings: Settings) -> tuple[list[Any], list[Any]]:
    """Keep a part of the rows apart; rows with the same first text stay together."""
    firsts = sorted({str(row[0]) for row in rows})
    order = np.random.default_rng(settings.seed).permutation(len(firsts)).tolist()
    count = min(max(1, round(len(firsts) * settings.validation)), len(firsts) - 1)
    if not settings.validation or not count:
        return list(rows), list(rows)
    held = {firsts[place] for place in order[:count]}
    return [row for row in rows if str(row[0]) not in held], [row for row in rows if str(row[0]) in held]


def measure(model: Any, rows: Sequence[Row]) -> dict[str, float]:
    """Return how well texts find their partners among all of the rows; of scored pairs Spearman's correlation."""
    left, right = (model.encode([str(row[side]) for row in rows], normalize_embeddings=True) for side in (0, 1))
    if _kind(rows[0]) == "scored":
        from scipy.stats import spearmanr

        found = spearmanr((left * right).sum(axis=1), [float(row[-1]) for row in rows]).statistic
        return {"spearman": float(found) if np.isfinite(found) else 0.0}
    similar = left @ right.T
    # A text that stands in several rows has several partners, and finding any of them is right.
    same = np.array([[one[1] == other[1] or one[0] == other[0] for other in rows] for one in rows])
    own = np.where(same, similar, -2).max(axis=1)
    ranks = 1 + ((similar > own[:, None]) & ~same).sum(axis=1)
    return {"recall_at_1": float((ranks == 1).mean()), "mrr": float((1 / ranks).mean())}


def _kind(row: Row) -> str:
    if len(row) == 2:
        return "pair"
    return "triplet" if isinstance(row[2], str) else "scored"
