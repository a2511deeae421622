"""Rerankers: a cross-encoder reads a query and a text at once and says whether they fit, from 0 to 1.

fit([("how do I pay?", "Payments are made by card.", 1.0)], Path("minilm"), into=Path("support-rerank"))
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from finetune.text.classify import Fitted
from finetune.text.embed import apart
from finetune.text.settings import Settings, Tell, arguments, listeners, quiet, tokenizer_of, train
from workspace.errors import Invalid

LEARNING_RATE = 1e-4
Row = tuple[str, str, float]


def fit(
    rows: Sequence[Row],
    base: Path,
    *,
    into: Path,
    settings: Settings | None = None,
    held_out: Sequence[Row] | None = None,
    tell: Tell | None = None,
) -> Fitted:
    """Train a cross-encoder on pairs with a label, 1 fits and 0 does not; our engine serves it at /v1/rerank."""
    settings = settings or Settings()
    quiet()
    _check(rows)
    taught, valid = apart(rows, settings) if held_out is None else (rows, held_out)
    tokenizer_of(base)  # says what is wrong with it
    work = into.with_name(f"{into.name}.work")

    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = CrossEncoder(str(base), num_labels=1, max_length=settings.max_length, local_files_only=True)
    data = [
        Dataset.from_dict(
            {
                "query": [row[0] for row in part],
                "text": [row[1] for row in part],
                "label": [float(row[2]) for row in part],
            }
        )
        for part in (taught, valid)
    ]
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments(
            settings, work, rows=len(taught), learning_rate=LEARNING_RATE, kind=CrossEncoderTrainingArguments
        ),
        train_dataset=data[0],
        eval_dataset=data[1],
        loss=BinaryCrossEntropyLoss(model),
        callbacks=listeners(settings, tell),
    )
    train(trainer, work)
    said = model.predict([(row[0], row[1]) for row in valid]).tolist()
    shutil.rmtree(into, ignore_errors=True)
    model.save_pretrained(str(into), create_model_card=False)
    shutil.rmtree(work, ignore_errors=True)
    return Fitted(folder=into, classes=(), metrics=_measured(said, [row[2] for row in valid]))


def _check(rows: Sequence[Row]) -> None:
    if not rows:
        raise Invalid("there are no rows to learn from", hint="is the file empty?")
    for number, (query, text, label) in enumerate(rows, start=1):
        if not query.strip() or not text.strip():
            raise Invalid(f"row {number} has an empty text")
        if not 0 <= float(label) <= 1:
            raise Invalid(f"row {number}: the label {label} is not between 0 and 1")
    if len({float(row[2]) for row in rows}) < 2:
        raise Invalid(
            f"all {len(rows)} rows have the label {rows[0][2]}", hint="a reranker needs texts that do not fit"
        )


def _measured(said: Sequence[float], wanted: Sequence[float]) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    right = [float(label) >= 0.5 for label in wanted]
    found = {"accuracy": sum((score >= 0.5) == label for score, label in zip(said, right, strict=True)) / len(right)}
    if len(set(right)) == 2:
        found["average_precision"] = float(average_precision_score(right, said))
    return found
