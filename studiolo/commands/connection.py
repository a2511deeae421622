"""`studiolo connection`: where services are reached, kept with their keys sealed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from flows import connection_files, connection_store
from flows.connection_store import Stored
from studiolo import open_workspace
from studiolo.commands.show import moment, print_json, print_table
from workspace.errors import Invalid

app = typer.Typer(help="Keep connections to services; their secrets are sealed and never shown.")

Name = Annotated[str, typer.Option("--name", "-n", help="The connection's name.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="field=value; again for more. field='<user-input>' asks.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("create")
def create_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="A connection in YAML, or a .env file of secrets.")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="Call it this; needed for a .env file.")] = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Keep the connection of a file; one of that name is updated. Secrets the file leaves out are asked for."""
    connection = connection_files.read(file, name=name, changes=_changes(set_))
    with open_workspace() as workspace:
        _print(connection_store.create(workspace, connection, ask=_asker()), as_json)


@app.command("update")
def update_command(name: Name, set_: Set = None, as_json: AsJson = False) -> None:
    """Set fields of a connection; secrets that are not named stay as they are."""
    with open_workspace() as workspace:
        stored = connection_store.update_connection(workspace, name, _changes(set_), ask=_asker())
    _print(stored, as_json)


@app.command("show")
def show_command(name: Name, as_json: AsJson = False) -> None:
    """Show a connection; its secrets are asterisks."""
    with open_workspace() as workspace:
        _print(connection_store.show(workspace, name), as_json)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the connections."""
    with open_workspace() as workspace:
        found = connection_store.list_connections(workspace)
    if as_json:
        print_json([each.shown() for each in found])
        return
    print_table(("connection", "type", "changed"), ((each.name, each.type, moment(each.updated_at)) for each in found))


@app.command("delete")
def delete_command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a connection."""
    if sys.stdin.isatty() and not yes:
        typer.confirm(f"Delete the connection {name}?", abort=True)
    with open_workspace() as workspace:
        connection_store.delete_connection(workspace, name)


def _print(stored: Stored, as_json: bool) -> None:
    if as_json:
        print_json(stored.shown())
        return
    fields = stored.shown()
    rows = [(key, value) for key, value in fields.items() if not isinstance(value, dict)]
    rows += [(f"{part}.{key}", value) for part in ("configs", "secrets") for key, value in fields.get(part, {}).items()]
    print_table(("", ""), rows)


def _changes(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # What was given is not repeated: it may be the secret itself.
            raise Invalid("--set needs field=value", hint="for example --set api_key='<user-input>'")
        found[name] = value
    return found


def _asker() -> Callable[[str], str]:
    if sys.stdin.isatty():
        return lambda key: str(typer.prompt(key, hide_input=True, err=True))
    return lambda _: sys.stdin.readline().rstrip("\n")
