"""What all recipes do alike before and after their own part: rows as tokens, resuming, and errors that can be read."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from finetune.data.encode import Batch, Encoding, encode
from finetune.language import checkpoints, loading, room
from finetune.language.decided import AT_ONCE, Decided, decide, fast_at_bfloat16, precision_of
from finetune.language.given import Event, Given, tell
from workspace.errors import Invalid, StudioloError, Unavailable

if TYPE_CHECKING:
    from finetune.language.watching import Watch


# What torch and safetensors say of a disk that takes no more.
_FULL = ("No space left", "PytorchStreamWriter", "iostream error", "unexpected pos", "StorageFull")


class OutOfMemory(StudioloError):
    """The machine, or its GPU, has no more memory for this training."""

    exit_code = 75


def device() -> str:
    """Return what is computed on."""
    return fast_at_bfloat16()[0]


def encoded(given: Given, tokenizer: Any) -> tuple[Batch, Batch | None]:
    """Return the rows to learn from as tokens, and those to validate with; what happened to any of them is told."""
    from finetune.language.reading import rows_of

    job = given.job
    how = Encoding(train_on=job.train_on, max_length=job.max_length)
    train, kept_back = rows_of(given)
    found = encode(train, tokenizer, how)
    validation = encode(kept_back, tokenizer, how) if kept_back else None
    for words in found.notes.said():
        say(given, words)
    return found, validation


def decided(given: Given, lengths: list[int]) -> Decided:
    """Return every choice as a number, and tell it; raises OutOfMemory where no way of training fits."""
    job, config = given.job, loading.config_of(given.base)
    where, fast = fast_at_bfloat16()
    precision = precision_of(job, fast=fast)
    found = room.room(
        job, config, longest=max(lengths), precision=precision, fastest=AT_ONCE[where],
        free=room.free_bytes(given.memory),
    )  # fmt: skip
    if found.fitting is None:
        raise OutOfMemory("no way of training it fits", hint=room.proposal(job, config, found))
    if found.fitting is not found.wanted:
        say(given, f"memory is short: {room.proposal(job, config, found)}")
    made = decide(job, lengths, precision=precision, way=found.fitting)
    tell(given.events, Event(kind="plan", detail={**_plain(made), "rows": len(lengths), "tokens": sum(lengths)}))
    return made


def watch(given: Given, decided: Decided, tokenizer: Any) -> Watch:
    """Return who looks on."""
    from finetune.language.watching import Watch

    return Watch(given, decided, tokenizer)


def callbacks(given: Given, watch: Watch) -> list[Any]:
    """Return who is told of each step."""
    from transformers import EarlyStoppingCallback

    stopping = given.job.early_stopping
    early = [EarlyStoppingCallback(stopping.patience, stopping.least)] if stopping.patience else []
    return [watch, *early]


def run(trainer: Any, given: Given, decided: Decided) -> None:
    """Train, from the newest whole checkpoint on where there is one."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)  # the watch tells, once
    given.checkpoints.mkdir(parents=True, exist_ok=True)
    found, said = checkpoints.newest(given.checkpoints)
    for words in said:
        say(given, words)
    if found is not None:
        say(given, f"it goes on from the checkpoint of step {checkpoints.step_of(found)} of {decided.steps}")
    try:
        trainer.train(resume_from_checkpoint=str(found) if found is not None else None)
    except MemoryError as error:
        raise OutOfMemory(f"out of memory: {error}") from None
    except RuntimeError as error:
        raise told(error, given) from error
    except OSError as error:
        raise told(error, given) from error


def told(error: Exception, given: Given) -> Exception:
    """Return an error that can be read for one of torch's or the disk's; any other is a bug and stays what it is."""
    words = str(error)
    if "out of memory" in words.lower() or "can't allocate memory" in words or "not enough memory" in words:
        return OutOfMemory(words.splitlines()[0])
    if getattr(error, "errno", None) == errno.ENOSPC or any(each in words for each in _FULL):
        last, _ = checkpoints.newest(given.checkpoints)
        kept = f"the checkpoint of step {checkpoints.step_of(last)} is whole" if last else "there was no checkpoint yet"
        return Unavailable(
            f"the disk is full: a checkpoint could not be written; {kept}",
            hint=f"free some space, then go on: studiolo finetune run --resume {given.work.parent.name}",
        )
    return error


def say(given: Given, words: str) -> None:
    """Say something in the log, once."""
    tell(given.events, Event(kind="words", words=words))


def _plain(found: Decided) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__slots__}


def refuse_empty(found: list[Any], what: str) -> None:
    """Raise where the data has no rows of the kind that the method learns from."""
    if not found:
        raise Invalid(f"the data has no {what}", hint="set `data.format`, or choose another `method`")
