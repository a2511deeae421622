"""ORPO: the model learns the preferred answer, and that the other one is less likely, without a reference model.

TRL trains; its ORPO is among what it calls experimental.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
from trl.experimental.utils import DPODataCollatorWithPadding

from finetune.data.encode import IGNORED
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
        args=ORPOConfig(
            **arguments(given, decided, device=running.device(), validates=validation is not None),
            max_length=job.max_length,
            beta=job.preference.beta,
        ),
        data_collator=Counted(DPODataCollatorWithPadding(pad_token_id=tokenizer.pad_token_id), _length_of),
        train_dataset=_dataset(rows.pairs),
        eval_dataset=None if validation is None else _dataset(validation.pairs),
        processing_class=tokenizer,
        callbacks=running.callbacks(given, watch),
    )
    running.run(trainer, given, decided)
    loading.save(trainer.accelerator.unwrap_model(trainer.model), given)


class Trainer(ORPOTrainer):  # type: ignore[misc]
    """TRL's trainer, for rows that are tokens already."""

    def __init__(self, *, watch: Watch, **told: Any) -> None:
        self._watch = watch
        super().__init__(**told)
        self.use_dpo_data_collator = True

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Leave a row as it is."""
        return {}

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Go through one batch."""
        self._watch.read(inputs)
        return super().training_step(model, inputs, num_items_in_batch)


def _dataset(pairs: Sequence[EncodedPair]) -> Dataset:
    columns: dict[str, list[Any]] = {"prompt_input_ids": [each.prompt.tolist() for each in pairs]}
    columns["prompt_attention_mask"] = [[1] * len(each) for each in columns["prompt_input_ids"]]
    for name in ("chosen", "rejected"):
        answers = [getattr(each, name).tolist() for each in pairs]
        prompts = columns["prompt_input_ids"]
        columns[f"{name}_input_ids"] = [asked + said for asked, said in zip(prompts, answers, strict=True)]
        columns[f"{name}_attention_mask"] = [[1] * len(each) for each in columns[f"{name}_input_ids"]]
        columns[f"{name}_labels"] = [
            [IGNORED] * len(asked) + said for asked, said in zip(prompts, answers, strict=True)
        ]
    return Dataset.from_dict(columns | {"row": [each.row for each in pairs]})


def _length(pair: EncodedPair) -> int:
    return 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def _length_of(row: dict[str, Any]) -> tuple[int, int]:
    tokens = len(row["chosen_input_ids"]) + len(row["rejected_input_ids"])
    return tokens, tokens - 2 * len(row["prompt_input_ids"])
