"""How the models that read texts are trained: the settings that all recipes share, and what is heard of a training."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workspace.errors import Invalid, NotFound

Tell = Callable[[int, Mapping[str, float]], None]
"""Who hears of a training: the number of the step, and numbers by name."""

Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long, how fast and on what a model is trained; `learning_rate` None means the recipe's own."""

    epochs: float = 3.0
    steps: int | None = None  # instead of epochs
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float | None = None
    schedule: Schedule = "linear"
    warmup: float = 0.1  # part of all steps
    weight_decay: float = 0.01
    max_length: int = 256  # tokens of a text; what is longer is cut
    validation: float = 0.1  # part of the rows that is kept apart, where no validation rows are given
    patience: int = 0  # epochs without gain before it ends; 0: all epochs
    balance: bool = False  # rare classes count as much as frequent ones
    seconds: float | None = None  # after which it ends with what it has
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulation", "max_length"):
            if getattr(self, name) <= 0:
                raise Invalid(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("warmup", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise Invalid(f"{name} is a part, from 0 to below 1, not {getattr(self, name)}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise Invalid(f"learning_rate must be between 0 and 1, not {self.learning_rate}")


def quiet() -> None:
    """Keep transformers from drawing bars into the log of a job."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def tokenizer_of(base: Path) -> Any:
    """Return the tokenizer of a model's folder; one without a padding token pads with its end."""
    from transformers import AutoTokenizer

    if not (base / "config.json").is_file():
        raise NotFound(f"no model in {str(base)!r}", hint="a model folder has a config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    except (OSError, ValueError) as error:
        raise Invalid(f"{str(base)!r} has no tokenizer that can be read: {error}") from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fitting(model: Any, tokenizer: Any, max_length: int) -> int:
    """Return how many tokens of a text are read; Invalid where model and tokenizer are not of one another."""
    embedded = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embedded:
        hint = "the tokenizer is another model's: take the one that the weights were published with"
        raise Invalid(f"the tokenizer knows {len(tokenizer)} tokens and the model {embedded}", hint=hint)
    model.config.pad_token_id = tokenizer.pad_token_id
    limit = getattr(model.config, "max_position_embeddings", None) or max_length
    return int(min(max_length, limit, tokenizer.model_max_length))


def arguments(
    settings: Settings, work: Path, *, rows: int, learning_rate: float, best: str = "loss", kind: Any = None
) -> Any:
    """Return transformers' own arguments; checkpoints lie in `work`, and the epoch that is `best` is the model."""
    import torch
    from transformers import TrainingArguments

    steps = math.ceil(math.ceil(rows / settings.batch_size) / settings.accumulation) * settings.epochs
    steps = settings.steps or steps
    on_gpu = torch.cuda.is_available()
    return (kind or TrainingArguments)(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=2 * settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=learning_rate if settings.learning_rate is None else settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=int(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        use_cpu=not on_gpu,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=best,
        greater_is_better=best != "loss",
        logging_steps=max(1, int(steps // 50)),
        seed=settings.seed,
        data_seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )


def listeners(settings: Settings, tell: Tell | None) -> list[Any]:
    """Return what listens to a training: it tells numbers on, stops at NaN, and ends it in time."""
    from transformers import EarlyStoppingCallback, TrainerCallback

    began = time.monotonic()

    class Listener(TrainerCallback):  # type: ignore[misc]  # transformers has no types
        """Hears each log, and looks at the clock after each step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            found = {key: float(value) for key, value in (logs or {}).items() if isinstance(value, int | float)}
            if (loss := found.get("loss")) is not None and not math.isfinite(loss):
                hint = "a smaller learning_rate, or look at the rows"
                raise Invalid(f"the loss is {loss} at step {state.global_step}", hint=hint)
            if tell is not None and found:
                tell(int(state.global_step), found)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if settings.seconds is not None and time.monotonic() - began > settings.seconds:
                control.should_training_stop = control.should_evaluate = control.should_save = True

    patience = [EarlyStoppingCallback(settings.patience)] if settings.patience else []
    return [Listener(), *patience]


def train(trainer: Any, work: Path) -> None:
    """Train, from the last whole checkpoint where there is one."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)  # whoever listens is told, and nobody twice
    trainer.train(resume_from_checkpoint=last_checkpoint(work))


def last_checkpoint(work: Path) -> str | None:
    """Return the newest checkpoint that is whole: its state can be read and its weights are as long as they say."""
    found = sorted(work.glob("checkpoint-*"), key=lambda each: int(each.name.rpartition("-")[2]), reverse=True)
    return next((str(each) for each in found if _is_whole(each)), None)


def _is_whole(folder: Path) -> bool:
    weights = list(folder.glob("*.safetensors"))
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        return bool(weights) and all(_length_told(each) == each.stat().st_size for each in weights)
    except (OSError, ValueError):
        return False


def _length_told(weights: Path) -> int:
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0)
