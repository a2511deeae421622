"""Azure ML's fine-tuning jobs as ours: tasks become methods, and what trainers are told there is told here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from finetune.language.spec import TuneJob
from jobs import files
from jobs.files.command import Job
from jobs.files.finetuning import CustomFineTuning, FineTuningJob, OpenAIFineTuning, camel
from jobs.files.ports import Input
from workspace.errors import Invalid

METHODS = {
    "chat_completion": ("sft", "chat"),
    "text_completion": ("sft", "auto"),
    "question_answering": ("sft", "auto"),
    "text_summarization": ("sft", "auto"),
    "text_translation": ("sft", "auto"),
    "text_classification": ("classify", "auto"),
    "token_classification": ("tag", "auto"),
}
RATE = 2e-4  # what Azure OpenAI's multiplier multiplies, here


def _flag(value: str) -> bool:
    return value.strip().lower() in ("true", "1", "yes")


# What Azure ML's own trainers are told by name, and the key of ours that it is.
HYPERPARAMETERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "num_train_epochs": ("epochs", float),
    "n_epochs": ("epochs", float),
    "number_of_epochs": ("epochs", float),
    "epochs": ("epochs", float),
    "max_steps": ("steps", int),
    "per_device_train_batch_size": ("batch_size", int),
    "batch_size": ("batch_size", int),
    "train_batch_size": ("batch_size", int),
    "gradient_accumulation_steps": ("accumulation", int),
    "gradient_checkpointing": ("gradient_checkpointing", _flag),
    "learning_rate": ("learning_rate", float),
    "lr_scheduler_type": ("schedule", lambda value: "constant" if value.startswith("constant") else value),
    "warmup_ratio": ("warmup", float),
    "warmup_steps": ("warmup", float),
    "weight_decay": ("weight_decay", float),
    "max_grad_norm": ("max_grad_norm", float),
    "seed": ("seed", int),
    "max_seq_length": ("max_length", int),
    "max_length": ("max_length", int),
    "lora_r": ("adapter.rank", int),
    "lora_alpha": ("adapter.alpha", float),
    "lora_dropout": ("adapter.dropout", float),
    "lora_rank": ("adapter.rank", int),
    "early_stopping_patience": ("early_stopping.patience", int),
    "early_stopping_threshold": ("early_stopping.least", float),
    "eval_steps": ("evaluate_every", int),
    "save_total_limit": ("checkpoints.keep", lambda value: max(2, int(value))),
    "save_steps": ("checkpoints.every", int),
}
_KINDS = ("apply_lora", "apply_qlora", "apply_dora")
_COLUMNS = {
    "text_key": "prompt",
    "ground_truth_key": "completion",
    "prompt_key": "prompt",
    "completion_key": "completion",
}
_LABELLED = {"sentence1_key": "text", "label_key": "label", "token_key": "tokens", "tag_key": "tags"}


def as_tuning(job: Job) -> TuneJob:
    """Return the training that a file of Azure ML means; raises Invalid where nothing here trains such a task."""
    if isinstance(job, TuneJob):
        return job
    if not isinstance(job, FineTuningJob):
        raise Invalid(f"a job of type {type(job).__name__} is no training")
    if job.task not in METHODS:
        known = ", ".join(map(camel, METHODS))
        raise Invalid(f"task {camel(job.task)!r} is not trained here", hint=f"these are: {known}")
    method, form = METHODS[job.task]
    settings, unused = _settings(job)
    columns = _columns(job, _LABELLED if method in ("classify", "tag") else _COLUMNS)
    values: dict[str, Any] = {
        "type": "tuning", "base": job.model.path, "method": method, "data": _rows(job.training_data, form, columns),
        "name": job.name, "display_name": job.display_name, "experiment_name": job.experiment_name,
        "description": job.description, "tags": dict(job.tags),
        "properties": {**job.properties, "azureml.job_type": "finetuning", "azureml.task": camel(job.task)},
        "output": next((each.name for each in job.outputs.values() if each.name), None),
    }  # fmt: skip
    if job.validation_data is not None:
        values["validation"] = _rows(job.validation_data, form, columns)
    given = {key: value for key, value in values.items() if value not in (None, "", {})}
    made = files.made("job", given, job.folder, tuple(settings.items()))
    if unused:
        print(f"no effect here: {', '.join(unused)}", flush=True)  # noqa: T201  said where the job is submitted
    return cast("TuneJob", made)


def _settings(job: FineTuningJob) -> tuple[dict[str, Any], list[str]]:
    """Return what the hyperparameters set here, and the names of those that set nothing."""
    told = _told(job)
    found: dict[str, Any] = {}
    unused = []
    for name, value in told.items():
        if name in HYPERPARAMETERS:
            key, read = HYPERPARAMETERS[name]
            try:
                found[key] = read(value)
            except ValueError:
                raise Invalid(f"hyperparameter {name!r} cannot be {value!r}") from None
        elif name == "learning_rate_multiplier":
            found["learning_rate"] = RATE * float(value)
        elif name not in _KINDS and name not in _COLUMNS and name not in _LABELLED:
            unused.append(name)
    if "steps" in found and found["steps"] < 1:  # -1 means: by epochs
        del found["steps"]
    elif "steps" in found:
        found.pop("epochs", None)
    if "apply_lora" in told and not _flag(told["apply_lora"]):
        found["adapter.kind"] = "full"
    for kind in ("qlora", "dora"):
        if _flag(told.get(f"apply_{kind}", "")):
            found["adapter.kind"] = kind
    if job.validation_data is None:
        found = {key: value for key, value in found.items() if not key.startswith("early_stopping")}
    return found, unused


def _told(job: FineTuningJob) -> dict[str, str]:
    """Return the hyperparameters that have a value, as text."""
    if isinstance(job, CustomFineTuning):
        return {name: str(value) for name, value in job.hyperparameters.items() if value not in (None, "")}
    if isinstance(job, OpenAIFineTuning) and job.hyperparameters is not None:
        names = ("n_epochs", "learning_rate_multiplier", "batch_size")
        found = {name: getattr(job.hyperparameters, name) for name in names}
        return {name: str(value) for name, value in found.items() if value is not None}
    return {}


def _columns(job: FineTuningJob, known: Mapping[str, str]) -> dict[str, str]:
    return {known[name]: value for name, value in _told(job).items() if name in known}


def _rows(given: Input | None, form: str, columns: Mapping[str, str]) -> dict[str, Any]:
    assert given is not None  # noqa: S101  the reader has seen to it
    return {"path": given.path, "format": form, **({"columns": dict(columns)} if columns else {})}
