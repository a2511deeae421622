"""Direct preference optimization: the model learns to say what was preferred, and not to say what was not.

TRL trains, against the model as it was: the base without its adapter, or a second copy where all of it learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from finetune.language import loading, running
from finetune.language.arguments import arguments
from finetune.language.parts import Counted

if TYPE_CHECKING:
    from finetune.data.encode import EncodedPair
    from finetune.language.given import Given
    from finetune.language.watching import Watch


def train(given: Given) -> None:
    """Train, from the newest whole checkpoint on where there is one, and write the model."""
    job = given.job
    tokenizer = loading.tokenizer_of(given)
    rows, validation = running.encoded(given, tokenizer)
    running.refuse_empty(rows.pairs, "pairs of answers, `chosen` and `rejected`")
    decided = running.decided(given, [_length(each) for each in rows.pairs])
    model = loading.model_of(given, decided)
    watch = running.watch(given, decided, tokenizer)
    trainer = Trainer(
        watch=watch,
        model=model,
        args=DPOConfig(
            **arguments(given, decided, device=running.device(), validates=validation is not None),
            max_length=None,
            beta=job.preference.beta,
            loss_type=[job.preference.loss],
        ),
        data_collator=Counted(DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id), _length_of),
        train_dataset=_dataset(rows.pairs),
        eval_dataset=None if validation is None else _dataset(validation.pairs),
        processing_class=tokenizer,
        callbacks=running.callbacks(given, watch),
    )
    running.run(trainer, given, decided)
    loading.save(trainer.accelerator.unwrap_model(trainer.model), given)


class Trainer(DPOTrainer):  # type: ignore[misc]
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


def _dataset(pairs: Sequence[EncodedPair]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt_ids": [each.prompt.tolist() for each in pairs],
            "chosen_ids": [each.chosen.tolist() for each in pairs],
            "rejected_ids": [each.rejected.tolist() for each in pairs],
            "row": [each.row for each in pairs],
        }
    )


def _length(pair: EncodedPair) -> int:
    return 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def _length_of(row: dict[str, Any]) -> tuple[int, int]:
    learnt = len(row["chosen_ids"]) + len(row["rejected_ids"])
    return 2 * len(row["prompt_ids"]) + learnt, learnt
