"""`studiolo finetune data`: look at rows as a model will read them, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import studiolo
from studiolo.arguments import pairs
from studiolo.commands.formats import Answer
from workspace.errors import Invalid

if TYPE_CHECKING:
    from studiolo.tuning.looking import Look

Form = Literal["auto", "chat", "instruction", "completion", "preference", "kto", "text"]
TrainOn = Literal["assistant", "last", "all"]
TooLong = Literal["cut", "drop", "keep_end"]

MODEL = "smollm2-135m-instruct"
_PROBLEMS = 10  # told one by one


def data_command(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder, a table, or data:NAME@latest.")],
    model: Annotated[str, typer.Option(help="Whose tokenizer and chat template: as `base` of a training.")] = MODEL,
    columns: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS, as prompt=question; repeatable.")] = None,
    form: Annotated[Form, typer.Option(help="What a row is.")] = "auto",
    train_on: Annotated[TrainOn, typer.Option(help="What is learnt.")] = "assistant",
    max_length: Annotated[int, typer.Option(min=8, help="The longest row, in tokens.")] = 1024,
    too_long: Annotated[TooLong, typer.Option(help="What becomes of a longer one.")] = "cut",
    limit: Annotated[int | None, typer.Option(min=1, help="The first rows only.")] = None,
    show: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 2,
    html: Annotated[Path | None, typer.Option(help="Write a page with all of this.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the rows that are sound and no duplicates: clean.jsonl.")
    ] = None,
) -> Answer:
    """Check rows of training data, and show what a model reads and learns of them."""
    from finetune.data import read
    from finetune.data.encode import Encoding
    from studiolo.tuning import looking

    named = pairs(columns, example="prompt=question")
    reading = read.Reading(form=form, columns=named, limit=limit)
    how = Encoding(train_on=train_on, max_length=max_length, too_long=too_long)
    with studiolo.open_workspace() as workspace:
        found = looking.look(workspace, data, model, reading=reading, how=how, show=show, folder=Path.cwd())
    if html:
        looking.write_page(found, html)
    if write:
        looking.write_rows(found.clean, write)
    count = len(found.problems)
    failure = Invalid(f"{count} rows cannot be trained on", hint="or write the others: --write clean.jsonl")
    return Answer(value=found.as_json(), words=_told(found, html, write), failure=failure if count else None)


def _told(found: Look, html: Path | None, write: Path | None) -> str:
    from rich.console import Console
    from rich.text import Text

    from finetune.data.preview import sentences

    console = Console(soft_wrap=True)
    with console.capture() as captured:
        for line in filter(None, sentences(found.statistics)):
            console.print(Text(line))
        for problem in found.problems[:_PROBLEMS]:
            console.print(Text(str(problem), style="red"))
        if len(found.problems) > _PROBLEMS:
            console.print(Text(f"and {len(found.problems) - _PROBLEMS} more: -o json"))
        for row in found.shown:
            console.print(Text(f"\nrow {row.row}: {row.tokens} tokens, {row.learnt} learnt", style="bold"))
            text = Text()
            for piece in row.pieces:
                if piece.label:
                    text.append(f"\n[{piece.label}] ", style="bold")
                style = "black on green" if piece.learnt else "dim"
                text.append(piece.text, style=style if piece.label != "rejected" else "black on red")
            console.print(text)
        for path in filter(None, (html, write)):
            console.print(Text(f"wrote {path}"))
    return captured.get().rstrip()
