"""Text models as jobs: a training's file says the settings, the recipes train, and what happens is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from finetune.language.given import Event, Given, tell
from finetune.language.spec import AUTO, Rows
from finetune.text import classify as classifying
from finetune.text import embed as embedding
from finetune.text import rerank as reranking
from finetune.text import rows
from finetune.text import tag as tagging
from finetune.text.classify import Fitted
from finetune.text.packing import pack
from finetune.text.settings import Settings
from workspace.errors import Invalid

BATCH = 32
_NUMBERS = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm", "epoch": "epoch",
            "eval_loss": "validation_loss"}  # fmt: skip


def classify(given: Given) -> None:
    """Train a classifier, and leave it as a model of MLflow."""
    texts, labels = rows.labelled(given.data, given.job.data.columns, given.job.data.limit)
    held_out = None
    if given.validation is not None:
        held_out = rows.labelled(given.validation, *_how(given))
    heard = _Heard(given, len(texts))
    fitted = classifying.fit(
        texts, labels, given.base, into=_into(given), settings=settings(given), held_out=held_out, tell=heard
    )
    heard.end(fitted)
    pack(fitted.folder, given.output)


def tag(given: Given) -> None:
    """Train a tagger, and leave it as a model of MLflow."""
    found = rows.tagged(given.data, given.job.data.columns, given.job.data.limit)
    held_out = rows.tagged(given.validation, *_how(given)) if given.validation is not None else None
    heard = _Heard(given, len(found))
    fitted = tagging.fit(found, given.base, into=_into(given), settings=settings(given), held_out=held_out, tell=heard)
    heard.end(fitted)
    pack(fitted.folder, given.output)


def embed(given: Given) -> None:
    """Train an embedding model, which our engine serves."""
    found = rows.paired(given.data, given.job.data.columns, given.job.data.limit)
    held_out = rows.paired(given.validation, *_how(given)) if given.validation is not None else None
    heard = _Heard(given, len(found))
    heard.end(
        embedding.fit(found, given.base, into=given.output, settings=settings(given), held_out=held_out, tell=heard)
    )


def rerank(given: Given) -> None:
    """Train a cross-encoder, which our engine serves."""
    found = _scored(rows.paired(given.data, given.job.data.columns, given.job.data.limit))
    held_out = _scored(rows.paired(given.validation, *_how(given))) if given.validation is not None else None
    heard = _Heard(given, len(found))
    heard.end(
        reranking.fit(found, given.base, into=given.output, settings=settings(given), held_out=held_out, tell=heard)
    )


def settings(given: Given) -> Settings:
    """Return what a training's file says, in the words of the recipes."""
    job = given.job
    return Settings(
        epochs=float(job.epochs),
        steps=job.steps,
        batch_size=BATCH if job.batch_size == AUTO else int(job.batch_size),
        accumulation=job.accumulation,
        learning_rate=None if job.learning_rate == AUTO else float(job.learning_rate),
        schedule=job.schedule,
        warmup=job.warmup,
        weight_decay=job.weight_decay,
        max_length=job.max_length,
        validation=job.split.validation or 0.1,
        patience=job.early_stopping.patience,
        seed=job.seed,
    )


class _Heard:
    """Who hears of a training and tells it on: what the metrics, the log and the card say."""

    def __init__(self, given: Given, count: int) -> None:
        self._given = given
        chosen = settings(given)
        steps = math.ceil(count * (1 - chosen.validation) / chosen.batch_size / chosen.accumulation) * chosen.epochs
        detail = {"rows": count, "tokens": 0, "steps": chosen.steps or int(steps), "precision": "float32"}
        tell(given.events, Event(kind="plan", detail=detail))

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        found = {ours: numbers[theirs] for theirs, ours in _NUMBERS.items() if theirs in numbers}
        if found:
            tell(self._given.events, Event(kind="step", step=step, values=found))
        quality = {key: value for key, value in numbers.items() if key in ("eval_accuracy", "eval_f1", "eval_f1_macro")}
        if quality:
            said = ", ".join(f"{key.removeprefix('eval_')} {value:.4f}" for key, value in quality.items())
            tell(self._given.events, Event(kind="words", words=f"step {step}  {said}"))

    def end(self, fitted: Fitted) -> None:
        """Tell how good the model is, on the rows that were kept apart."""
        for note in fitted.notes:
            tell(self._given.events, Event(kind="words", words=note))
        said = ", ".join(f"{name} {value:.4f}" for name, value in fitted.metrics.items())
        tell(self._given.events, Event(kind="measured", words=f"measured: {said}", values=dict(fitted.metrics)))


def _into(given: Given) -> Any:
    return given.work / "fitted"


def _how(given: Given) -> tuple[Mapping[str, str], int | None]:
    asked: Rows = given.job.validation or given.job.data
    return asked.columns, asked.limit


def _scored(found: list[Any]) -> list[Any]:
    if any(len(row) != 3 or isinstance(row[2], str) for row in found):
        raise Invalid("a reranker learns from two texts and a score", hint="columns query, text and score")
    return found
