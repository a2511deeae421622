"""What the commands of endpoints and deployments share: their options, what they show while they wait."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from workspace.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.environments import Preparing
    from serving.deploying import Made
    from serving.endpoints import Deployment
    from serving.invoking import Answered, Waiting

EndpointName = Annotated[str, typer.Option("--name", "-n", help="The endpoint.")]
OfEndpoint = Annotated[str, typer.Option("--endpoint-name", "-e", help="The endpoint.")]
DeploymentName = Annotated[str, typer.Option("--name", "-n", help="The deployment.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key.key=value, as in the file; again for more.")]
FileName = Annotated[str, typer.Option("--name", "-n", help="Its name, instead of the file's.")]
FileEndpoint = Annotated[str, typer.Option("--endpoint-name", "-e", help="Its endpoint, instead of the file's.")]
AllowPickle = Annotated[
    bool,
    typer.Option("--allow-pickle", help="Load a model whose format can run code; you know who made it. It is audited."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def changes(given: list[str] | None) -> dict[str, str]:
    """Return `a.b=c` texts as a mapping."""
    found = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise Invalid(f"--set takes key=value, not {text!r}", hint="for example --set tags.team=blue")
        found[key] = value
    return found


def shares(text: str, option: str) -> dict[str, float]:
    """Return percentages by name: `shares("blue=90 green=10", "--traffic") == {"blue": 90, "green": 10}`."""
    found = {}
    for part in text.replace(",", " ").split():
        name, equals, value = part.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise Invalid(f"{option} takes name=percent, not {part!r}", hint=f'for example {option} "blue=90 green=10"')
    return {name: int(part) if part == int(part) else part for name, part in found.items()}


def note_unused(keys: Iterable[str], warnings: Iterable[str]) -> None:
    """Say what of a file has no effect on this machine, and what the cloud would not take."""
    for key in keys:
        typer.echo(f"note: `{key}` means something in the cloud only; it is kept and has no effect here", err=True)
    for warning in warnings:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)


@contextmanager
def told() -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is going on: in one line that changes, or a line each time it is another."""
    if not sys.stderr.isatty():
        last = ""

        def say(text: str) -> None:
            nonlocal last
            plain_text = text.partition(" (")[0]
            if plain_text != last:
                typer.echo(text, err=True)
            last = plain_text

        yield say
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("…") as status:
        yield lambda text: status.update(escape(text))


def made_of(events: Iterable[Preparing | Made], say: Callable[[str], None]) -> Deployment:
    """Say what is prepared for a deployment, and return it as it was recorded."""
    from serving.deploying import Made

    made = None
    for event in events:
        if isinstance(event, Made):
            made = event.deployment
        else:
            say(event.text)
    assert made is not None  # noqa: S101 - one event is always this one
    return made


def answer_of(events: Iterable[Waiting | Answered], say: Callable[[str], None]) -> Answered:
    """Say what an answer waits for, and return it."""
    from serving.invoking import Answered

    for event in events:
        if isinstance(event, Answered):
            return event
        say(f"{event.text} ({event.seconds:.0f} s)")
    raise AssertionError("the last event is the answer")


def confirm(what: str, *, yes: bool) -> None:
    """Ask before something goes, where somebody can answer."""
    if sys.stdin.isatty() and not yes:
        typer.confirm(what, abort=True, err=True)
