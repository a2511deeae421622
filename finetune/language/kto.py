"""KTO: the model learns from single answers, each called good or bad; nobody has to compare two.

TRL trains. What an answer is worth is measured against answers to other questions of the same batch, so a batch has
at least two rows, and rows keep the order of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from finetune.language import loading, running
from finetune.language.arguments import arguments
from finetune.language.parts import Counted
from workspace.errors import Invalid

if TYPE_CHECKING:
    from finetune.data.encode import EncodedVerdict
    from finetune.language.given import Given
    from finetune.language.watching import Watch


def train(given: Given) -> None:
    """Train, from the newest whole checkpoint on where there is one, and write the model."""
    job = given.job
    tokenizer = loading.tokenizer_of(given)
    rows, validation = running.encoded(given, tokenizer)
    running.refuse_empty(rows.verdicts, "answers with a `label`")
    decided = running.decided(given, [_length(each) for each in rows.verdicts])
    if decided.batch_size < 2:
        raise Invalid("kto needs two rows a batch", hint="set batch_size: 2, and give more rows than that")
    model = loading.model_of(given, decided)
    watch = running.watch(given, decided, tokenizer)
    trainer = Trainer(
        watch=watch,
        model=model,
        args=KTOConfig(
            **arguments(given, decided, device=running.device(), validates=validation is not None),
            max_length=None,
            beta=job.preference.beta,
            desirable_weight=job.preference.desirable_weight,
            undesirable_weight=job.preference.undesirable_weight,
            train_sampling_strategy="sequential",
        ),
        data_collator=Counted(DataCollatorForUnpairedPreference(pad_token_id=tokenizer.pad_token_id), _length_of),
        train_dataset=_dataset(rows.verdicts, decided.batch_size),
        eval_dataset=None if validation is None else _dataset(validation.verdicts, decided.batch_size),
        processing_class=tokenizer,
        callbacks=running.callbacks(given, watch),
    )
    running.run(trainer, given, decided)
    loading.save(trainer.accelerator.unwrap_model(trainer.model), given)


class Trainer(KTOTrainer):  # type: ignore[misc]
    """TRL's trainer, for rows that are tokens already."""

    def __init__(self, *, watch: Watch, **told: Any) -> None:
        self._watch = watch
        super().__init__(**told)

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Go through one batch."""
        self._watch.read(inputs)
        return super().training_step(model, inputs, num_items_in_batch)


def _dataset(verdicts: Sequence[EncodedVerdict], batch: int) -> Dataset:
    """Return the rows; beside each answer stands another one of its batch, which was given to another question."""
    answers = [each.completion.tolist() for each in verdicts]
    others: list[list[int]] = []
    for first in range(0, len(answers), batch):
        group = answers[first : first + batch]
        others += [group[-1], *group[:-1]]
    return Dataset.from_dict(
        {
            "prompt_ids": [each.prompt.tolist() for each in verdicts],
            "completion_ids": answers,
            "KL_completion_ids": others,
            "label": [each.good for each in verdicts],
            "row": [each.row for each in verdicts],
        }
    )


def _length(verdict: EncodedVerdict) -> int:
    return len(verdict.prompt) + len(verdict.completion)


def _length_of(row: dict[str, Any]) -> tuple[int, int]:
    return len(row["prompt_ids"]) + len(row["completion_ids"]), len(row["completion_ids"])
