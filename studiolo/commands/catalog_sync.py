"""`studiolo catalog sync`: the Hub's list of models, brought here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

import studiolo
from studiolo.commands.formats import Answer
from studiolo.commands.show import span
from workspace.errors import Invalid

if TYPE_CHECKING:
    from catalog.sync import Event

Several = Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")]
_EVERY = 20  # pages between two lines where no terminal is


def sync_command(
    task: Several = None,
    library: Several = None,
    author: Several = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All models of the Hub: 25 minutes without a token.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="List all again: finds what has vanished, and counts of downloads.")
    ] = False,
) -> Answer:
    """Bring the Hub's list of models here, or what has changed since; without options, what was brought before."""
    from catalog.hub import Hub
    from catalog.sync import Asked, Published, known_scopes, scopes, sync
    from studiolo.catalog_shelf import folder

    if everything and (task or library or author):
        raise Invalid("--all is everything: leave out --task, --library and --author")
    hub = Hub.of_person()
    with studiolo.open_workspace() as workspace:
        place = folder(workspace)
        asked = bool(everything or task or library or author)
        wanted = scopes(task or [], library or [], author or []) if asked else known_scopes(place)
        if not wanted:
            raise Invalid(
                "nothing was synced before: say what is wanted",
                hint="studiolo catalog sync --task text-generation, --author Qwen, or --all",
            )
        done = []
        for scope in wanted:
            with _shown() as show:
                for event in sync(place, hub, Asked(scope=scope, full=full)):
                    show(event)
                    if isinstance(event, Published):
                        done.append(event)
    lines = [
        f"{str(each.scope) or 'all'}: {each.changes.models:,} models in the catalog; {each.changes.added:,} new, "
        f"{each.changes.updated:,} seen again, {each.changes.renamed:,} renamed, {each.changes.gone:,} gone "
        f"({span(each.seconds)})"
        for each in done
    ]
    return Answer(value=done, words="\n".join(lines), next="studiolo catalog search WORDS")


@contextmanager
def _shown() -> Iterator[Callable[[Event], None]]:
    """Show how far a sync is: a bar in a terminal, a line now and then elsewhere."""
    from catalog.hub import Waiting
    from catalog.sync import Arrived, Begun

    def say(event: Event) -> None:
        if isinstance(event, Begun):
            kind = "all" if event.whole else "what has changed"
            typer.echo(f"{str(event.scope) or 'the Hub'}: {kind}, {event.rows:,} fetched before", err=True)
        elif isinstance(event, Arrived) and event.pages % _EVERY == 0:
            typer.echo(f"{event.rows:,} models, {event.rate:,.0f} a second, {span(event.left)} left", err=True)
        elif isinstance(event, Waiting):
            typer.echo(f"waiting {span(event.seconds)}: {event.why}", err=True)

    if not sys.stderr.isatty():
        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(TextColumn("{task.description}"), BarColumn(24), console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("asking", total=None)

        def draw(event: Event) -> None:
            if isinstance(event, Arrived):
                total = None if event.left is None else event.rows + event.left * event.rate
                left = "" if event.left is None else f", {span(event.left)} left"
                words = f"{event.rows:,} models, {event.rate:,.0f} a second{left}"
                bar.update(line, description=words, completed=event.rows, total=total)
            elif isinstance(event, Waiting):
                bar.update(line, description=f"waiting {span(event.seconds)}: {event.why}"[:100])

        yield draw
