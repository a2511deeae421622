"""What every trainer of transformers and TRL is told alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.language.decided import Decided
    from finetune.language.given import Given

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def arguments(given: Given, decided: Decided, *, device: str, validates: bool) -> dict[str, Any]:
    """Return the arguments of a trainer."""
    job = given.job
    stops = bool(job.early_stopping.patience)
    return {
        "output_dir": str(given.checkpoints),
        "per_device_train_batch_size": decided.batch_size,
        "per_device_eval_batch_size": decided.batch_size,
        "gradient_accumulation_steps": job.accumulation,
        "max_steps": decided.steps,
        "learning_rate": job.rate,
        "lr_scheduler_type": _SCHEDULES[job.schedule],
        "warmup_steps": decided.warmup,
        "weight_decay": job.weight_decay,
        "max_grad_norm": job.max_grad_norm,
        "optim": "adamw_torch",
        "seed": job.seed,
        "data_seed": job.seed,
        "use_cpu": device == "cpu",
        "bf16": decided.precision == "bfloat16",
        "fp16": decided.precision == "float16",
        "gradient_checkpointing": decided.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": decided.validate_every,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": decided.save_every,
        "save_total_limit": job.checkpoints.keep,
        "load_best_model_at_end": stops,
        "metric_for_best_model": "loss" if stops else None,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device != "cpu",
        "ddp_find_unused_parameters": False,
    }
