"""Supervised fine-tuning: the model learns the answers of conversations, word by word.

TRL trains; rows come to it as tokens with exactly the answers marked. A batch goes through the model in parts that
fit into memory at once, rows beside each other without padding; the sum over the parts is the batch's own gradient.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from finetune.language import head, loading, running
from finetune.language.arguments import arguments
from finetune.language.parts import Collate, parts

if TYPE_CHECKING:
    from finetune.language.given import Given
    from finetune.language.watching import Watch


def train(given: Given) -> None:
    """Train, from the newest whole checkpoint on where there is one, and write the model."""
    job = given.job
    tokenizer = loading.tokenizer_of(given)
    rows, validation = running.encoded(given, tokenizer)
    decided = running.decided(given, [len(each) for each in rows.texts])
    model = loading.model_of(given, decided)
    watch = running.watch(given, decided, tokenizer)
    trainer = Trainer(
        watch=watch,
        at_once=decided.tokens_at_once if job.packing else 0,
        model=model,
        args=SFTConfig(
            **arguments(given, decided, device=running.device(), validates=validation is not None),
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=Collate(),
        train_dataset=_dataset(rows.texts),
        eval_dataset=None if validation is None else _dataset(validation.texts),
        processing_class=tokenizer,
        callbacks=running.callbacks(given, watch),
    )
    running.run(trainer, given, decided)
    loading.save(trainer.accelerator.unwrap_model(trainer.model), given)


class Trainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, whose batches are gone through in parts, and whose head looks only at what is learnt."""

    def __init__(self, *, watch: Watch, at_once: int, **told: Any) -> None:
        super().__init__(**told)
        self._watch, self._at_once = watch, at_once
        base = self.model if not hasattr(self.model, "get_base_model") else self.model.get_base_model()
        self._is_plain = head.is_plain(base.config)
        if self._is_plain:
            head.put_on(base)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Go through one batch, in parts; each process tells the others its gradients once, at the end."""
        self._watch.read(inputs)
        divided = parts(inputs, self._at_once) if not self.is_fsdp_enabled else [inputs]
        total = None
        for number, part in enumerate(divided, 1):
            is_last = number == len(divided)
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                loss = super().training_step(model, part, num_items_in_batch)
            total = loss if total is None else total + loss
        return total

    def compute_loss(self, model: Any, inputs: dict[str, Any], *given: Any, **named: Any) -> Any:
        """Return the loss at the tokens that are learnt, divided by their number in the whole step."""
        told = {name: inputs[name] for name in ("input_ids", "labels", "position_ids")}
        if not self._is_plain or named.get("return_outputs"):
            return super().compute_loss(model, told, *given, **named)
        items = named.get("num_items_in_batch")
        if items is None:
            items = (told["labels"][:, 1:] != head.IGNORED).sum()
        loss = model(**told, learnt=True) / torch.as_tensor(items).clamp(min=1)
        if named.get("num_items_in_batch") is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return loss

    def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
        """Tell what was measured; TRL's own averages need TRL's own loss."""
        if self._is_plain:
            self._metrics: dict[str, Any] = {"train": {}, "eval": {}}
        super().log(logs, *given, **named)


def _dataset(texts: Any) -> Dataset:
    return Dataset.from_dict(
        {
            "input_ids": [each.input_ids for each in texts],
            "labels": [each.labels for each in texts],
            "row": [each.row for each in texts],
        }
    )
