"""Texts into classes: one class each, or any number of them; from an encoder or from a language model.

fitted = fit(["great", "awful"], ["good", "bad"], Path("minilm"), into=Path("sentiment"))
probabilities(fitted.folder, ["not bad"])
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.text.settings import Settings, Tell, arguments, fitting, listeners, quiet, tokenizer_of, train
from workspace.errors import Invalid

LEARNING_RATE = 2e-4  # small encoders; large ones want a tenth of it
Label = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained model in transformers' layout, its classes in the order of its outputs, and how good it is."""

    folder: Path
    classes: tuple[str, ...]
    metrics: Mapping[str, float]
    notes: Sequence[str] = field(default_factory=tuple)


def fit(
    texts: Sequence[str],
    labels: Sequence[Label],
    base: Path,
    *,
    into: Path,
    settings: Settings | None = None,
    held_out: tuple[Sequence[str], Sequence[Label]] | None = None,
    tell: Tell | None = None,
) -> Fitted:
    """Train a classifier on texts and labels, and write it into a folder.

    Labels that are lists make it multi-label. A second call with the same `into` goes on from the last checkpoint.
    Raises Invalid where there is nothing to learn: no rows, or one class.
    """
    settings = settings or Settings()
    quiet()
    many = any(not isinstance(label, str) for label in labels)
    classes = _classes(texts, labels)
    taught, valid = split(texts, labels, settings) if held_out is None else ((texts, labels), held_out)
    notes = _notes(classes, taught[1], valid[1])
    model, tokenizer = _model(base, classes, many=many)
    length = fitting(model, tokenizer, settings.max_length)
    rows = [_encoded(tokenizer, length, classes, *each, many=many) for each in (taught, valid)]
    work = into.with_name(f"{into.name}.work")
    best = "f1_macro" if settings.balance else "f1_micro"

    from transformers import DataCollatorWithPadding, Trainer

    trainer = Trainer(
        model=model,
        args=arguments(settings, work, rows=len(rows[0]), learning_rate=LEARNING_RATE, best=best),
        train_dataset=rows[0],
        eval_dataset=rows[1],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: scores(found.predictions, found.label_ids, many=many),
        compute_loss_func=_loss(_weights(classes, taught[1]) if settings.balance else None, many=many),
        callbacks=listeners(settings, tell),
    )
    train(trainer, work)
    found = trainer.evaluate()
    metrics = {key.removeprefix("eval_"): value for key, value in found.items() if key.removeprefix("eval_") in KNOWN}
    write(model, tokenizer, into)
    shutil.rmtree(work, ignore_errors=True)
    return Fitted(folder=into, classes=classes, metrics=metrics, notes=notes)


class Reader:
    """A classifier that is loaded; `many` is true where a text may have several labels."""

    def __init__(self, folder: Path, *, max_length: int = 512) -> None:
        from transformers import AutoModelForSequenceClassification

        quiet()
        self._tokenizer = tokenizer_of(folder)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        self._length = fitting(self._model, self._tokenizer, max_length)
        told = self._model.config.id2label
        self.classes: tuple[str, ...] = tuple(told[place] for place in sorted(told))
        self.many: bool = self._model.config.problem_type == "multi_label_classification"

    def probabilities(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Return the probability of each class for each text; of a multi-label model each stands for itself."""
        import torch

        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = np.zeros((len(texts), len(self.classes)), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            given = [texts[row] for row in chosen]
            batch = self._tokenizer(given, truncation=True, max_length=self._length, padding=True, return_tensors="pt")
            with torch.inference_mode():
                logits = self._model(**batch).logits.float()
            found[chosen] = (logits.sigmoid() if self.many else logits.softmax(dim=1)).numpy()
        return found


def probabilities(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Load a classifier and return the probability of each class for each text."""
    return Reader(folder).probabilities(texts)


def classes_of(folder: Path) -> tuple[str, ...]:
    """Return the classes of a model in the order of its outputs."""
    from transformers import AutoConfig

    told = AutoConfig.from_pretrained(folder, local_files_only=True).id2label
    return tuple(told[place] for place in sorted(told))


KNOWN = ("accuracy", "f1_macro", "f1_micro", "loss")


def scores(logits: Any, targets: Any, *, many: bool) -> dict[str, float]:
    """Return accuracy (of a row, all its labels) and F1, over classes that occur and over all decisions."""
    from sklearn.metrics import accuracy_score, f1_score

    said = (np.asarray(logits) > 0).astype(int) if many else np.asarray(logits).argmax(axis=-1)
    right = np.asarray(targets).astype(int)
    return {
        "accuracy": float(accuracy_score(right, said)),
        "f1_macro": float(f1_score(right, said, average="macro", zero_division=0)),
        "f1_micro": float(f1_score(right, said, average="micro", zero_division=0)),
    }


def split(texts: Sequence[str], labels: Sequence[Label], settings: Settings) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Keep a part of the rows apart, of each class alike; a class of one row stays with what is trained on."""
    if not settings.validation:
        return (texts, labels), (texts, labels)
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    groups: dict[str, list[int]] = {}
    for row in order.tolist():
        groups.setdefault("\0".join(_names(labels[row])), []).append(row)
    held: list[int] = []
    due = 0.0
    for rows in groups.values():
        due += len(rows) * settings.validation
        count = min(int(due), len(rows) - 1)
        held += rows[:count]
        due -= count
    held = held or order[:1].tolist()
    apart = set(held)
    kept = [row for row in range(len(texts)) if row not in apart]
    return ([texts[row] for row in kept], [labels[row] for row in kept]), (
        [texts[row] for row in held],
        [labels[row] for row in held],
    )


def _classes(texts: Sequence[str], labels: Sequence[Label]) -> tuple[str, ...]:
    if not texts:
        raise Invalid("there are no rows to learn from", hint="is the file empty?")
    if len(texts) != len(labels):
        raise Invalid(f"{len(texts)} texts and {len(labels)} labels")
    if bad := [row for row, text in enumerate(texts) if not isinstance(text, str) or not text.strip()]:
        raise Invalid(f"row {bad[0] + 1} has no text ({len(bad)} such rows)")
    classes = tuple(sorted({name for label in labels for name in _names(label)}))
    if len(classes) < 2 and all(isinstance(label, str) for label in labels):
        only = repr(classes[0]) if classes else "none"
        raise Invalid(f"all {len(labels)} rows are of one class, {only}", hint="a classifier needs two")
    if not classes:
        raise Invalid("no row has any label")
    return classes


def _names(label: Label) -> Sequence[str]:
    return [label] if isinstance(label, str) else label


def _notes(classes: Sequence[str], train: Sequence[Label], valid: Sequence[Label]) -> tuple[str, ...]:
    known = Counter(name for label in train for name in _names(label))
    unseen = sorted({name for label in valid for name in _names(label)} - set(classes))
    if unseen:
        raise Invalid(
            f"the validation rows have {len(unseen)} labels that no training row has: {', '.join(unseen[:5])}",
            hint="add rows of them to the training data, or take these out",
        )
    rare = [name for name in classes if known[name] < 8]
    if not rare:
        return ()
    return (f"{len(rare)} of {len(classes)} classes have fewer than 8 rows, among them {rare[0]!r}",)


def _model(base: Path, classes: Sequence[str], *, many: bool) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification

    tokenizer = tokenizer_of(base)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, dtype=torch.float32, local_files_only=True, num_labels=len(classes),
        id2label=dict(enumerate(classes)), label2id={name: place for place, name in enumerate(classes)},
        problem_type="multi_label_classification" if many else "single_label_classification",
        ignore_mismatched_sizes=True,
    )  # fmt: skip
    return model, tokenizer


def _encoded(
    tokenizer: Any, length: int, classes: Sequence[str], texts: Sequence[str], labels: Sequence[Label], *, many: bool
) -> list[dict[str, Any]]:
    places = {name: place for place, name in enumerate(classes)}
    rows = []
    told = tokenizer(list(texts), truncation=True, max_length=length)
    for row, label in enumerate(labels):
        target: Any = places[label] if isinstance(label, str) and not many else _hot(places, _names(label))
        rows.append({**{key: told[key][row] for key in told}, "labels": target})
    return rows


def _hot(places: Mapping[str, int], names: Iterable[str]) -> list[float]:
    row = [0.0] * len(places)
    for name in names:
        row[places[name]] = 1.0
    return row


def _weights(classes: Sequence[str], labels: Sequence[Label]) -> list[float]:
    counts = Counter(name for label in labels for name in _names(label))
    return [len(labels) / (len(classes) * max(1, counts[name])) for name in classes]


def _loss(weights: Sequence[float] | None, *, many: bool) -> Any:
    """Return the loss by classes of unequal weight; None where transformers' own does."""
    if weights is None:
        return None
    import torch
    from torch.nn import functional

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs["logits"].float()
        by_class = torch.tensor(weights, device=logits.device)
        if many:
            found = functional.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=by_class)
        else:
            found = functional.cross_entropy(logits, labels, weight=by_class)
        return found if num_items_in_batch is None else found * labels.numel() / num_items_in_batch

    return loss


def write(model: Any, tokenizer: Any, into: Path) -> None:
    """Write a model beside its place, then put it there at once: what is there is whole."""
    into.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}-"))
    try:
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)
    finally:
        shutil.rmtree(made, ignore_errors=True)
