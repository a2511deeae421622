"""`studiolo index`: folders of documents made searchable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import studiolo
from studiolo.commands.show import moment, print_json, print_table
from workspace.errors import Invalid, PartialFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.rag.index_update import Updated

app = typer.Typer(help="Make folders of documents searchable, for flows that answer from them.")
Unit = Literal["characters", "tokens"]
Name = Annotated[str, typer.Argument(help="The index.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reached = Annotated[str, typer.Option(help="The connection over which the model answers; none: the gateway.")]
_SHOWN = 300  # characters of a passage


@app.command("create")
def create_command(
    name: Name,
    source: Annotated[Path, typer.Argument(help="A folder of Markdown, text, HTML and PDF, or one such file.")],
    chunk_size: Annotated[int, typer.Option(help="How long a chunk is, at most.")] = 1000,
    overlap: Annotated[int, typer.Option(help="How much of it a chunk shares with the one before.")] = 150,
    unit: Annotated[
        Unit, typer.Option(help="What these two count: characters, or tokens of the model.")
    ] = "characters",
    include: Annotated[list[str] | None, typer.Option(help="Only names like this: '*.md', 'guide/*'.")] = None,
    model: Annotated[str, typer.Option(help="The embedding model; none: the one that ships.")] = "",
    connection: Reached = "",
    as_json: AsJson = False,
) -> None:
    """Make an index of documents, or bring it up to date: only what has changed is read again."""
    from flows.rag.chunks import Chunking
    from flows.rag.index_update import Begun, FileDone, Updated
    from studiolo import index_shelf

    asked = index_shelf.Asked(
        name=name, source=source, model=model, connection=connection, include=tuple(include or ()),
        chunking=Chunking(size=chunk_size, overlap=overlap, unit=unit),
    )  # fmt: skip
    updated = None
    with studiolo.open_workspace() as workspace, _progress() as (begin, advance):
        for event in index_shelf.create(workspace, asked):
            if isinstance(event, Begun):
                begin(event.files)
            elif isinstance(event, FileDone):
                advance()
            elif isinstance(event, Updated):
                updated = event
    assert updated is not None  # noqa: S101 - the last event is always this one
    _print_updated(updated, as_json=as_json)


@app.command("query")
def query_command(
    name: Name,
    question: Annotated[str, typer.Argument(help="What to look for, in words.")],
    top_k: Annotated[int, typer.Option(help="How many passages.")] = 4,
    source: Annotated[list[str] | None, typer.Option(help="Look in this document alone; several are several.")] = None,
    connection: Reached = "",
    as_json: AsJson = False,
) -> None:
    """Show the passages nearest to a question, with where they stand."""
    from studiolo import index_shelf

    only = {"source": source} if source else None
    with studiolo.open_workspace() as workspace:
        found = index_shelf.query(workspace, name, question, top=top_k, only=only, connection=connection)
    if as_json:
        print_json(found)
        return
    for number, passage in enumerate(found, 1):
        typer.secho(f"{number}. {passage.place}  {passage.heading}  ({passage.score:.3f})", bold=True)
        text = " ".join(passage.text.split())
        typer.echo(f"   {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the indexes of the workspace."""
    from flows.rag import indexes

    with studiolo.open_workspace() as workspace:
        found = indexes.list_indexes(workspace.home)
    if as_json:
        print_json(found)
        return
    rows = (
        (each.name, each.files, each.chunks, each.model, moment(each.updated_at or None), each.source)
        for each in found
    )  # fmt: skip
    print_table(("index", "files", "chunks", "model", "updated", "of"), rows, right=("files", "chunks"))
    if not found:
        typer.echo("next: studiolo index create NAME FOLDER", err=True)


@app.command("delete")
def delete_command(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete an index; the documents stay."""
    from flows.rag import indexes

    with studiolo.open_workspace() as workspace:
        indexes.get(workspace.home, name)
        if not yes and not typer.confirm(f"Delete the index {name}? The documents stay.", err=True):
            raise Invalid("nothing was deleted", hint="--yes does not ask")
        indexes.delete(workspace.home, name)
    typer.echo(f"{name} is deleted", err=True)


def _print_updated(updated: Updated, *, as_json: bool) -> None:
    about = updated.about
    if as_json:
        print_json(updated)
    else:
        print(
            f"{about.name}: {about.files} files, {about.chunks} chunks; {updated.added} read, "
            f"{updated.unchanged} unchanged, {updated.removed} gone"
        )
    for failed in updated.failed:
        typer.secho(f"{failed.source}: {failed.error}", fg="yellow", err=True)
    if updated.failed:
        what = f"{len(updated.failed)} of {len(updated.failed) + about.files} files cannot be read; the rest are in"
        raise PartialFailure(what, hint="mend or leave them out with --include, then run it again")
    typer.echo(f"next: studiolo index query {about.name} 'your question'", err=True)


@contextmanager
def _progress() -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    if not sys.stderr.isatty():
        yield lambda files: typer.echo(f"{files} files", err=True), lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("embedding", total=None)
        yield lambda files: progress.update(task, total=files), lambda: progress.advance(task)
