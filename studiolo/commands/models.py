"""`studiolo models`: the models of this workspace."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from studiolo import open_workspace
from studiolo.commands.show import megabytes, moment, print_json, print_table
from workspace.home import Workspace

app = typer.Typer(help="List, prepare and show models.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models, the newest version of each."""
    with open_workspace() as workspace:
        found = workspace.assets.list("model")
    if as_json:
        print_json(found)
        return
    headings = ("model", "task", "parameters", "size", "licence", "added")
    rows = (
        (
            f"{each.name}:{each.version}", each.properties.get("task"), _millions(each.properties.get("parameters")),
            megabytes(each.size), each.properties.get("license"), moment(each.created_at),
        )
        for each in found
    )  # fmt: skip
    print_table(headings, rows, right=("parameters", "size"))
    if not found:
        Console(stderr=True).print("no models yet; `studiolo models prepare` adds the two that come with Studiolo")


@app.command()
def prepare(as_json: AsJson = False) -> None:
    """Add the chat model and the embedder that come with Studiolo, once."""
    with open_workspace() as workspace:
        prepare_models(workspace, Console(stderr=True, highlight=False))
    list_models(as_json=as_json)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="name, name:version or name@label")], as_json: AsJson = False
) -> None:
    """Show a model: where it is from, its licence, its digest and its folder."""
    with open_workspace() as workspace:
        asset = workspace.assets.get("model", model)
        folder = workspace.assets.path(asset)
    if as_json:
        print_json({"asset": asset, "path": folder})
        return
    rows: list[tuple[str, Any]] = [
        ("model", f"{asset.name}:{asset.version}"), ("digest", asset.digest), ("size", megabytes(asset.size)),
        ("added", moment(asset.created_at)), ("labels", ", ".join(asset.labels)), ("path", folder),
    ]  # fmt: skip
    for key, value in asset.properties.items():
        nested = value.items() if isinstance(value, dict) else ()
        rows += [(f"{key}.{inner}", each) for inner, each in nested] or [(key, value)]
    print_table(("", ""), rows)


def prepare_models(workspace: Workspace, console: Console) -> None:
    """Prepare the embedded models with a bar each; those that are there already are not mentioned."""
    from catalog.embedded import prepare as preparing

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}
        for step in preparing(workspace):
            if step.model not in tasks and step.done == step.total:
                continue
            if step.model not in tasks:
                tasks[step.model] = bars.add_task(step.model)
            words = f"{step.model}: {step.step}"
            bars.update(tasks[step.model], description=words, completed=step.done, total=step.total)


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.0f} M"
