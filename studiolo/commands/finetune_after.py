"""`studiolo finetune merge`, `export`, `compare`, `card`: what follows a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from studiolo import open_workspace
from studiolo.commands.eval_options import GATE_FAILED
from studiolo.commands.formats import Answer
from workspace.errors import PartialFailure

if TYPE_CHECKING:
    from finetune.after.parity import Parity
    from studiolo.tuning.comparing import Asked

Model = Annotated[str, typer.Argument(help="The model: NAME, NAME:VERSION or NAME@LABEL.")]
Tasks = Annotated[list[str] | None, typer.Option(help="A task file, as `eval run` takes; repeatable.")]


def merge_command(
    model: Model,
    name: Annotated[str, typer.Option("--name", "-n", help="What it is called; NAME-merged by default.")] = "",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Its numbers; those of the base by default."),
    ] = None,
) -> Answer:
    """Merge an adapter into its base: a whole model, kept where twenty conversations are answered as before."""
    from studiolo.tuning.merging import merge

    with open_workspace() as workspace:
        kept = merge(workspace, model, name=name or None, dtype=dtype)
    value = {"model": kept.asset.ref, "dtype": kept.dtype, "size": kept.asset.size, "parity": _told(kept.parity)}
    words = f"kept as {kept.asset.ref}, {kept.dtype}, {kept.asset.size / 1e6:.1f} MB\n{kept.parity.words()}"
    return Answer(value=value, words=words, next=f"studiolo finetune compare {kept.asset.name} --task TASK.yaml")


def export_command(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="A new folder that gets it.")],
    format_: Annotated[
        Literal["safetensors", "gguf", "adapter"], typer.Option("--format", "-f", help="What it becomes.")
    ] = "safetensors",
    numbers: Annotated[Literal["f32", "f16", "bf16", "q8_0"], typer.Option(help="The numbers of a GGUF file.")] = "f16",
    converter: Annotated[
        Path | None, typer.Option(help="llama.cpp's convert_hf_to_gguf.py, for models that we do not write.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Keep it as a model of this name too.")] = "",
) -> Answer:
    """Write a model into a folder with its card; what answers otherwise than the model here is not left there."""
    from studiolo.tuning.exporting import Wanted, export, serving_words

    wanted = Wanted(format=format_, numbers=numbers, converter=converter, keep=keep or None)
    with open_workspace() as workspace:
        made = export(workspace, model, folder, wanted)
        served = serving_words(made)
    value: dict[str, Any] = {
        "model": made.model.ref, "folder": str(made.folder), "format": made.format, "files": list(made.files),
        "parity": _told(made.parity), "kept": made.asset.ref if made.asset else None, "serve": list(served),
    }  # fmt: skip
    lines = [f"{made.model.ref} is in {made.folder}: {', '.join(made.files)}"]
    lines += [made.parity.words()] if made.parity else ["the files were copied; nothing has touched them"]
    lines += [f"kept as {made.asset.ref}"] if made.asset else []
    return Answer(value=value, words="\n".join([*lines, *(f"serve it: {line}" for line in served)]))


def compare_command(
    model: Annotated[str, typer.Argument(help="The tuned model: NAME or NAME:VERSION.")],
    base: Annotated[str, typer.Option(help="The model that it was tuned from; by default the one that it names.")] = "",
    task: Tasks = None,
    general: Tasks = None,
    safety: Tasks = None,
    margin: Annotated[float, typer.Option(help="The loss of general skill or safety that does not matter.")] = 0.1,
    limit: Annotated[int | None, typer.Option(help="The first rows of each task only.")] = None,
    output: Annotated[list[Path] | None, typer.Option("--out", help="A file: .html, .md or .json; repeatable.")] = None,
) -> Answer:
    """Have a tuned model and its base do tasks, and write the report card; exit with 3 where it is not passed.

    Without --general and --safety small sets of ours stand for them, which show large losses only.
    """
    from studiolo.tuning.comparing import Asked, Wanted, check_outputs, compare, sizes, write

    check_outputs(output or ())
    wanted = Wanted(
        task=task or (), general=general or (), safety=safety or (), base=base or None, margin=margin, limit=limit
    )
    with open_workspace() as workspace:
        for event in compare(workspace, model, wanted):
            if isinstance(event, Asked):
                typer.echo(_asked(event), err=True)
                continue
            made = event
        write(workspace, made, output or ())
    card = made.card
    lines = [_part(part) for part in card.as_json()["parts"]]
    if card.seconds is not None:
        lines.append(f"  an answer takes {card.seconds[0]:.2f} s → {card.seconds[1]:.2f} s (middle)")
    lines.append(f"  {sizes(card)}")
    lines.append(f"kept as {made.kept.ref}")
    failure = None if card.passed else _NotPassed(f"{card.tuned.ref} has not passed its card")
    return Answer(
        value=card.as_json() | {"card": made.kept.ref}, words="\n".join(lines), failure=failure,
        next=f"studiolo model promote {card.tuned.name}:{card.tuned.version}" if card.passed else "",
    )  # fmt: skip


def card_command(model: Model) -> Answer:
    """Print the card of a model as the Hub has them, with what its newest report card has measured."""
    from studiolo.tuning.comparing import results_of
    from studiolo.tuning.registration import story_of

    with open_workspace() as workspace:
        asset = workspace.assets.get("model", model)
        text = story_of(workspace, asset, results_of(workspace, asset))
    return Answer(value=text, words=text)


class _NotPassed(PartialFailure):
    exit_code = GATE_FAILED


def _asked(event: Asked) -> str:
    return f"{event.area}: {event.task} of {event.model}: {event.score:.3f} ({event.run})"


def _part(part: dict[str, Any]) -> str:
    mark = "✓" if part["passed"] else "✗"
    return (
        f"{mark} {part['area']:<8} {part['task']}: {part['metric']} {part['base']:.3f} → {part['tuned']:.3f} "
        f"({part['change']:+.3f}, 95 % interval {part['low']:+.3f} to {part['high']:+.3f}): {part['verdict']}"
    )


def _told(parity: Parity | None) -> dict[str, Any] | None:
    if parity is None:
        return None
    return {
        "conversations": parity.conversations, "tokens": parity.tokens, "same_tokens": parity.same_tokens,
        "parted": list(parity.excused),
    }  # fmt: skip
