"""Names in texts: each token gets a tag, B- where a name begins and I- where it goes on, or O.

fitted = fit([Tagged("Ann is in Rome", (Span(0, 3, "PER"), Span(10, 14, "LOC")))], Path("minilm"), into=Path("ner"))
Tagger(fitted.folder).entities(["Bob is in Oslo"])
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune.text.classify import Fitted, write
from finetune.text.settings import Settings, Tell, arguments, fitting, listeners, quiet, tokenizer_of, train
from workspace.errors import Invalid

LEARNING_RATE = 3e-4
OUTSIDE, IGNORED = "O", -100


@dataclass(frozen=True, slots=True)
class Span:
    """A name in a text: where it begins, where it is over, and what it is."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text and the names in it."""

    text: str
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """A name that was found, and how sure the model is."""

    text: str
    label: str
    start: int
    end: int
    score: float


def of_words(words: Sequence[str], tags: Sequence[str]) -> Tagged:
    """Return a row of words and tags, as CoNLL's files have them, as a text with spans; IOB1, IOB2 and IOBES."""
    if len(words) != len(tags):
        raise Invalid(f"{len(words)} words and {len(tags)} tags")
    spans: list[Span] = []
    at, before = 0, OUTSIDE
    for word, tag in zip(words, tags, strict=True):
        mark, _, label = tag.partition("-")
        if mark in ("B", "S", "U") or (mark in ("I", "E", "L") and before.partition("-")[2] != label):
            spans.append(Span(at, at + len(word), label))
        elif mark in ("I", "E", "L"):
            spans[-1] = Span(spans[-1].start, at + len(word), label)
        elif tag != OUTSIDE:
            raise Invalid(f"the tag {tag!r} is none of B-, I-, E-, S- with a name, or O")
        at, before = at + len(word) + 1, tag
    return Tagged(" ".join(words), tuple(spans))


def fit(
    rows: Sequence[Tagged],
    base: Path,
    *,
    into: Path,
    settings: Settings | None = None,
    held_out: Sequence[Tagged] | None = None,
    tell: Tell | None = None,
) -> Fitted:
    """Train a tagger and write it into a folder. A second call with the same `into` goes on from its checkpoint."""
    settings = settings or Settings()
    quiet()
    tags = _tags(rows)
    taught, valid = _apart(rows, settings) if held_out is None else (rows, held_out)
    if unseen := sorted({span.label for row in valid for span in row.spans} - {tag[2:] for tag in tags}):
        raise Invalid(f"the validation rows have names of {unseen[0]!r}, which no training row has")
    model, tokenizer = _model(base, tags)
    length = fitting(model, tokenizer, settings.max_length)
    encoded = [[_encoded(tokenizer, length, tags, row) for row in part] for part in (taught, valid)]
    work = into.with_name(f"{into.name}.work")

    from transformers import DataCollatorForTokenClassification, Trainer

    trainer = Trainer(
        model=model,
        args=arguments(settings, work, rows=len(taught), learning_rate=LEARNING_RATE, best="f1"),
        train_dataset=encoded[0],
        eval_dataset=encoded[1],
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=lambda found: scores(found.predictions, found.label_ids, tags),
        callbacks=listeners(settings, tell),
    )
    train(trainer, work)
    found = trainer.evaluate()
    metrics = {name: found[f"eval_{name}"] for name in ("precision", "recall", "f1", "loss")}
    write(model, tokenizer, into)
    shutil.rmtree(work, ignore_errors=True)
    return Fitted(folder=into, classes=tags, metrics=metrics)


class Tagger:
    """A tagger that is loaded."""

    def __init__(self, folder: Path, *, max_length: int = 512) -> None:
        from transformers import AutoModelForTokenClassification

        quiet()
        self._tokenizer = tokenizer_of(folder)
        self._model = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True).eval()
        self._length = fitting(self._model, self._tokenizer, max_length)
        told = self._model.config.id2label
        self.tags = tuple(str(told[place]) for place in sorted(told))

    def entities(self, texts: Sequence[str], *, batch_size: int = 32) -> list[tuple[Entity, ...]]:
        """Return the names in each text."""
        import torch

        found: list[tuple[Entity, ...]] = []
        for start in range(0, len(texts), batch_size):
            given = list(texts[start : start + batch_size])
            batch = self._tokenizer(
                given, truncation=True, max_length=self._length, padding=True, return_tensors="pt",
                return_offsets_mapping=True, return_special_tokens_mask=True,
            )  # fmt: skip
            places, special = batch.pop("offset_mapping"), batch.pop("special_tokens_mask")
            with torch.inference_mode():
                logits = self._model(**batch).logits.float().softmax(dim=-1).numpy()
            for row, text in enumerate(given):
                kept = [token for token in range(len(places[row])) if not special[row][token]]
                offsets = [(int(places[row][token][0]), int(places[row][token][1])) for token in kept]
                found.append(tuple(self._joined(text, offsets, logits[row][kept])))
        return found

    def _joined(self, text: str, offsets: Sequence[tuple[int, int]], chances: np.ndarray) -> list[Entity]:
        tags = [self.tags[place] for place in chances.argmax(axis=-1)]
        sure = chances.max(axis=-1)
        return [
            Entity(
                text[offsets[first][0] : offsets[last][1]], label, offsets[first][0], offsets[last][1],
                float(sure[first : last + 1].mean()),
            )
            for first, last, label in runs(tags)
        ]  # fmt: skip


def runs(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Return the names that tags tell, as first and last token and label.

    >>> runs(["B-PER", "I-PER", "O", "B-LOC"])
    [(0, 1, 'PER'), (3, 3, 'LOC')]
    """
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        mark, _, label = tag.partition("-")
        if mark == "I" and found and found[-1][1] == place - 1 and found[-1][2] == label:
            found[-1] = (found[-1][0], place, label)
        elif mark in ("B", "I"):
            found.append((place, place, label))
    return found


def scores(logits: Any, targets: Any, tags: Sequence[str]) -> dict[str, float]:
    """Return precision, recall and F1 of whole names: begin, end and label must all be right."""
    right = said = both = 0
    for row, target in zip(np.asarray(logits).argmax(axis=-1), np.asarray(targets), strict=True):
        counts = target != IGNORED
        wanted = set(runs([tags[place] for place in target[counts]]))
        found = set(runs([tags[place] for place in row[counts]]))
        right, said, both = right + len(wanted), said + len(found), both + len(wanted & found)
    precision, recall = both / said if said else 0.0, both / right if right else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _tags(rows: Sequence[Tagged]) -> tuple[str, ...]:
    if not rows:
        raise Invalid("there are no rows to learn from", hint="is the file empty?")
    for number, row in enumerate(rows, start=1):
        for span in row.spans:
            if not 0 <= span.start < span.end <= len(row.text):
                raise Invalid(f"row {number}: {span.start} to {span.end} is not in its {len(row.text)} letters")
    labels = sorted({span.label for row in rows for span in row.spans})
    if not labels:
        raise Invalid(f"none of the {len(rows)} rows has a name in it", hint="a tagger needs some")
    return (OUTSIDE, *(f"{mark}-{label}" for label in labels for mark in "BI"))


def _apart(rows: Sequence[Tagged], settings: Settings) -> tuple[list[Tagged], list[Tagged]]:
    order = np.random.default_rng(settings.seed).permutation(len(rows)).tolist()
    count = min(max(1, round(len(rows) * settings.validation)), len(rows) - 1)
    if not settings.validation or not count:
        return list(rows), list(rows)
    labels = {span.label for row in rows for span in row.spans}
    held, kept = order[:count], order[count:]
    known = {span.label for row in kept for span in rows[row].spans}
    held = [row for row in held if {span.label for span in rows[row].spans} <= known or labels <= known]
    apart = set(held or order[:1])
    return [row for place, row in enumerate(rows) if place not in apart], [rows[place] for place in sorted(apart)]


def _model(base: Path, tags: Sequence[str]) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForTokenClassification

    tokenizer = tokenizer_of(base)
    if not tokenizer.is_fast:
        raise Invalid(f"the tokenizer of {base.name} does not tell where its tokens lie in the text")
    model = AutoModelForTokenClassification.from_pretrained(
        base, dtype=torch.float32, local_files_only=True, num_labels=len(tags), id2label=dict(enumerate(tags)),
        label2id={tag: place for place, tag in enumerate(tags)}, ignore_mismatched_sizes=True,
    )  # fmt: skip
    return model, tokenizer


def _encoded(tokenizer: Any, length: int, tags: Sequence[str], row: Tagged) -> dict[str, Any]:
    told = tokenizer(
        row.text, truncation=True, max_length=length, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    offsets, special = told.pop("offset_mapping"), told.pop("special_tokens_mask")
    known = {tag: place for place, tag in enumerate(tags)}
    labels, begun = [], set()
    for (start, end), is_special in zip(offsets, special, strict=True):
        span = next((each for each in row.spans if start < each.end and end > each.start), None)
        if is_special or start == end:
            labels.append(IGNORED)
        elif span is None:
            labels.append(known[OUTSIDE])
        else:
            labels.append(known[f"{'I' if span in begun else 'B'}-{span.label}"])
            begun.add(span)
    return {**told, "labels": labels}
