"""`studiolo catalog provider`: whose models stand in the catalog beside the Hub's and this workspace's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import studiolo
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from workspace.errors import Invalid, NotFound

app = Group(help="Add models of folders, servers, registries and price lists to the catalog.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name in the catalog.")]


@app.command("add")
def add_command(
    name: Name,
    folder: Annotated[Path | None, typer.Option(help="A folder with models in it.")] = None,
    server: Annotated[str | None, typer.Option(help="An OpenAI-compatible server, or a connection to one.")] = None,
    mlflow: Annotated[str | None, typer.Option(help="A registry of MLflow: its address.")] = None,
    prices: Annotated[Path | None, typer.Option(help="Hosted models with their prices: a JSON file.")] = None,
) -> Answer:
    """Add a provider and bring its list."""
    from catalog.providers import Provider
    from studiolo import catalog_shelf

    places = {
        "folder": folder and str(folder.absolute()),
        "server": server,
        "mlflow": mlflow,
        "prices": prices and str(prices.absolute()),
    }
    given = [(kind, where) for kind, where in places.items() if where]
    if len(given) != 1:
        raise Invalid("say one place", hint="--folder, --server, --mlflow or --prices")
    kind, where = given[0]
    with studiolo.open_workspace() as workspace:
        provider = Provider(name=name, kind=kind, where=where)  # type: ignore[arg-type]  # of the keys above
        changes = catalog_shelf.add(workspace, provider)
    words = f"{name}: {changes.models:,} models"
    return Answer(value=changes, words=words, next=f"studiolo catalog search --provider {name}")


@app.command("list")
def list_command() -> Answer:
    """List the providers that were added."""
    from studiolo import catalog_shelf

    with studiolo.open_workspace() as workspace:
        found = catalog_shelf.added(workspace)
    return Answer(
        value=found,
        columns=("name", "kind", "where"),
        next="" if found else "studiolo catalog provider add NAME --folder FOLDER",
    )


@app.command("refresh")
def refresh_command(
    names: Annotated[list[str] | None, typer.Argument(help="Which; by default all that were added.")] = None,
) -> Answer:
    """Bring the lists of providers anew."""
    from studiolo import catalog_shelf

    with studiolo.open_workspace() as workspace:
        known = {each.name: each for each in catalog_shelf.added(workspace)}
        if unknown := [name for name in names or () if name not in known]:
            raise NotFound(f"no provider {unknown[0]!r}", hint="studiolo catalog provider list")
        done = {name: catalog_shelf.refresh(workspace, known[name]) for name in names or known}
    words = "\n".join(
        f"{name}: {each.models:,} models, {each.added:,} new, {each.gone:,} gone" for name, each in done.items()
    )
    return Answer(value=done, words=words or "no providers were added")


@app.command("remove")
def remove_command(name: Name) -> Answer:
    """Forget a provider; its models stay where they are."""
    from studiolo import catalog_shelf

    with studiolo.open_workspace() as workspace:
        catalog_shelf.remove(workspace, name)
    return Answer(value={"removed": name}, words=f"{name} is no longer in the catalog")
