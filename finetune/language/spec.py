"""What a training file says: the model to start from, the data, the way of training, and every choice with its default.

    base: smollm2-135m-instruct
    data: rows.jsonl
    adapter: {rank: 16}

That is a whole file. `studiolo finetune run` takes the same keys as `--set adapter.rank=16`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from jobs.files.command import Job
from jobs.files.ports import Input, OutputsByName
from jobs.files.reading import Place
from jobs.files.record import Mark, Record
from jobs.files.references import target
from jobs.files.resources import QueueSettings, Resources
from jobs.files.shapes import Choice, Definitions, Either, Flag, Many, Number, Schema, Shape, Text, Whole, named

AUTO = "auto"
LANGUAGE = ("sft", "dpo", "kto", "orpo")
Method = Literal["sft", "dpo", "kto", "orpo", "classify", "tag", "embed", "rerank"]
Kind = Literal["lora", "qlora", "dora", "rslora", "full"]
_PREFERRING = ("dpo", "kto", "orpo")


def auto_or(shape: Shape, what: str) -> Either:
    """Return the shape of a value that may be left to us."""
    return Either((Choice((AUTO,)), shape), f"`auto` or {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows to learn from: a file, a folder or a data asset."""

    path: Annotated[str, "A file, a folder, or azureml:NAME@latest: jsonl, csv, parquet."]
    format: Annotated[
        Literal["auto", "chat", "instruction", "completion", "preference", "kto", "text"],
        "What a row is; found from its columns where it is not said.",
    ] = "auto"
    columns: Annotated[Mapping[str, str], "Which column of the file is which of ours: {prompt: question}."] = field(
        default_factory=dict
    )
    limit: Annotated[int | None, Whole(least=1), "The first rows only."] = None

    def settle(self, place: Place, _: Mapping[str, Any]) -> Rows:
        if self.path.startswith("data:"):  # as lineage calls an asset
            name = self.path.removeprefix("data:")
            named = name if ":" in name or "@" in name else f"{name}@latest"
            return replace(self, path=f"azureml:{named}")
        where = target(self.path, place.folder)
        if not isinstance(where, Path):
            return self
        if not where.exists():
            hint = "paths are relative to the folder of the file"
            place.under("path").object("missing-data", f"no file or folder at {self.path!r}", hint=hint)
        return replace(self, path=str(where))


@dataclass(frozen=True, slots=True)
class RowsShape:
    """Rows: a mapping, or their path alone."""

    def read(self, place: Place, value: Any) -> Rows:
        if not isinstance(value, str | Mapping):
            raise place.wrong(f"must be a path, or a mapping with `path`, not {named(value)}")
        made: Rows = Record(Rows).read(place, {"path": value} if isinstance(value, str) else value)
        return made

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [{"type": "string"}, Record(Rows).schema(definitions)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows that are kept back to validate, where no validation data is given."""

    validation: Annotated[float, Number(), "The part of the rows that is kept back; 0: none."] = 0.0
    by: Annotated[str | None, "The column whose equal values stay on one side."] = None
    seed: Annotated[int, "Another number is another split."] = 0

    def settle(self, place: Place, _: Mapping[str, Any]) -> Split:
        if not 0 <= self.validation < 1:
            raise place.under("validation").wrong(f"must be from 0 up to 1, not {self.validation:g}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What is trained: a small adapter beside the model, or all of the model."""

    kind: Annotated[Kind, "lora; qlora: on weights of four bits (CUDA); dora; rslora; full: no adapter."] = "lora"
    rank: Annotated[int, Whole(least=1, most=512), "How wide the adapter is."] = 8
    alpha: Annotated[float | str, auto_or(Number(), "a number"), "How much it counts; auto: twice the rank."] = AUTO
    dropout: Annotated[float, Number(), "The part of its inputs that is left out at random."] = 0.0
    targets: Annotated[
        tuple[str, ...], Many(Text()), "The linear layers that get one, by the end of their names; none: all."
    ] = ()

    @property
    def scale(self) -> float:
        """What `alpha` comes to."""
        return 2.0 * self.rank if self.alpha == AUTO else float(self.alpha)

    def settle(self, place: Place, _: Mapping[str, Any]) -> Adapter:
        if not 0 <= self.dropout < 1:
            raise place.under("dropout").wrong(f"must be from 0 up to 1, not {self.dropout:g}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """How preferences are learnt: by dpo, kto and orpo."""

    beta: Annotated[float, Number(), "How close the model stays to the one it was."] = 0.1
    loss: Annotated[Literal["sigmoid", "hinge", "ipo", "robust"], Mark.EXACT, "The loss of dpo, as TRL calls it."] = (
        "sigmoid"
    )
    desirable_weight: Annotated[float, Number(), "How much good answers count, of kto."] = 1.0
    undesirable_weight: Annotated[float, Number(), "How much bad answers count, of kto."] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """When training ends before its time: when the loss on the validation rows no longer falls."""

    patience: Annotated[int, Whole(least=0), "Evaluations in a row that bring nothing; 0: never stop early."] = 0
    least: Annotated[float, Number(), "How much less the loss must be to count as better."] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Answers that the model gives while it learns, kept with the run."""

    prompts: Annotated[tuple[str, ...], Many(Text()), "What it is asked."] = ()
    every: Annotated[int | str, auto_or(Whole(least=1), "a number of steps"), "Steps between two askings."] = AUTO
    max_tokens: Annotated[int, Whole(least=1), "The longest answer."] = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """What is kept on the way, so that a killed training goes on from there."""

    every: Annotated[
        int | str, auto_or(Whole(least=1), "a number of steps"), "Steps between two; auto: a tenth, 5 at least."
    ] = AUTO
    keep: Annotated[int, Whole(least=2), "How many stay; two, so that a damaged one does no harm."] = 2
    resume_from: Annotated[str | None, "A training whose last checkpoint this one begins with."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributed:
    """Several processes that train one model together."""

    engine: Annotated[
        Literal["none", "accelerate"], "accelerate: on this machine, each process with the whole model (DDP)."
    ] = "none"
    processes: Annotated[int, Whole(least=1), "How many in all."] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob(Job):
    """A model that learns from rows."""

    type: Literal["tuning"] = "tuning"
    base: Annotated[str, "The model to start from: NAME, NAME:VERSION, azureml:…, hf:OWNER/NAME@REVISION, a folder."]
    data: Annotated[Rows, RowsShape(), "The rows to learn from: a path, or a mapping."]
    validation: Annotated[Rows | None, RowsShape(), "Rows to validate with."] = None
    split: Split = field(default_factory=Split)
    method: Annotated[
        Method, "sft: learn answers; dpo, orpo: of pairs; kto: of verdicts; classify, tag, embed, rerank: of texts."
    ] = "sft"
    adapter: Adapter = field(default_factory=Adapter)
    train_on: Annotated[
        Literal["assistant", "last", "all"], "Which tokens are learnt: every answer, the last one, or all text."
    ] = "assistant"
    preference: Preference = field(default_factory=Preference)
    max_length: Annotated[int, Whole(least=8), "The longest row, in tokens."] = 1024
    packing: Annotated[
        bool, Flag(), "Rows share passes through the model, without padding and unseen by each other."
    ] = True
    batch_size: Annotated[int | str, auto_or(Whole(least=1), "a number of rows"), "Rows a step, in each process."] = (
        AUTO
    )
    tokens_at_once: Annotated[
        int | str,
        auto_or(Whole(least=8), "a number of tokens"),
        "Tokens in memory at once: more of them are faster, and what is learnt is the same.",
    ] = AUTO
    accumulation: Annotated[int, Whole(least=1), "Batches that make one step."] = 1
    gradient_checkpointing: Annotated[
        bool | str, auto_or(Flag(), "true or false"), "Compute twice rather than remember; auto: where memory is short."
    ] = AUTO
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], "auto: bfloat16 where this machine is fast at it."
    ] = "auto"
    learning_rate: Annotated[
        float | str,
        auto_or(Number(), "a number"),
        "auto: 2e-4 with an adapter, 2e-5 without; a twentieth of that for preferences.",
    ] = AUTO
    schedule: Annotated[Literal["cosine", "linear", "constant"], "How the rate falls."] = "cosine"
    warmup: Annotated[float, Number(), "The part of the steps in which it rises first; 1 and more: so many steps."] = (
        0.03
    )
    weight_decay: Annotated[float, Number(), "How fast weights that do nothing shrink."] = 0.0
    max_grad_norm: Annotated[float, Number(), "Longer gradients are cut to this."] = 1.0
    epochs: Annotated[float, Number(), "How often all rows are seen."] = 1.0
    steps: Annotated[int | None, Whole(least=1), "How many steps, instead of `epochs`."] = None
    evaluate_every: Annotated[
        int | str, auto_or(Whole(least=1), "a number of steps"), "Steps between two validations; auto: a tenth."
    ] = AUTO
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    samples: Samples = field(default_factory=Samples)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    seed: Annotated[int, "Another number is another order of rows, and another adapter to begin with."] = 0
    distributed: Distributed = field(default_factory=Distributed)
    output: Annotated[str | None, "What the model is called that comes out; BASE-METHOD where it is not said."] = None
    trusts_remote_code: Annotated[bool, Flag(), "Run the Python that comes with the base model."] = False
    override_contamination: Annotated[
        str | None, "Why rows of evaluation sets may be trained on all the same; it is audited."
    ] = None
    price_per_hour: Annotated[float | None, Number(), "What an hour of this machine costs, for the plan."] = None
    resources: Resources | None = None
    queue_settings: QueueSettings | None = None
    inputs: Annotated[Mapping[str, Input], Mark.HIDDEN] = field(default_factory=dict)
    outputs: Annotated[OutputsByName, Mark.HIDDEN] = field(default_factory=dict)

    @property
    def is_preference(self) -> bool:
        """Whether it learns from what is better and what is worse."""
        return self.method in _PREFERRING

    @property
    def is_full(self) -> bool:
        """Whether all of the model learns."""
        return self.adapter.kind == "full"

    @property
    def rate(self) -> float:
        """What `learning_rate` comes to."""
        if self.learning_rate != AUTO:
            return float(self.learning_rate)
        return (2e-5 if self.is_full else 2e-4) / (20 if self.is_preference else 1)

    def settle(self, place: Place, written: Mapping[str, Any]) -> TuneJob:
        if self.steps is not None and "epochs" in written:
            place.under("steps").object("steps-and-epochs", "`steps` and `epochs` cannot both be said")
        if self.early_stopping.patience and self.validation is None and not self.split.validation:
            hint = "give `validation`, or `split: {validation: 0.1}`"
            place.under("early_stopping").object(
                "nothing-to-validate", "early stopping needs validation rows", hint=hint
            )
        if self.distributed.processes > 1 and self.distributed.engine == "none":
            hint = "distributed.engine: accelerate"
            place.under("distributed").object("no-engine", "several processes need an `engine`", hint=hint)
        return self
