"""`studiolo connection`: where services are reached, with their keys sealed; in prompt flow's or Azure ML's YAML."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import connection_files, connection_store
from flows.connection_store import Stored
from studiolo import open_workspace
from studiolo.commands.changing import Remove, removals, sets
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import Yes, confirm
from studiolo.commands.show import moment
from workspace.errors import Invalid
from workspace.home import Workspace

app = Group(help="Keep connections to services; their secrets are sealed and never shown.")
COLUMNS = ("connection", "type", "changed")
KIND = "connection"
# Keys that Azure ML's connections have, and prompt flow's do not.
AZURE = frozenset({"credentials", "target", "metadata", "is_shared", "azure_endpoint", "endpoint"})

Name = Annotated[str, typer.Argument(help="The connection's name.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="field=value; again for more. field='<user-input>' asks.")]


@app.command("create")
def create_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="A connection in YAML, or a .env file of secrets.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Call it this; needed for a .env file.")] = "",
    set_: Set = None,
) -> Answer:
    """Keep the connection of a file; one of that name is updated. Secrets the file leaves out are asked for."""
    changes = _changes(set_)
    with open_workspace() as workspace:
        if _is_azure(file):
            from jobs import assets

            overrides = (*sets(set_), ("name", name)) if name else sets(set_)
            return Answer(value=assets.create(workspace, KIND, file, overrides))
        connection = connection_files.read(file, name=name or None, changes=changes)
        return _answer(connection_store.create(workspace, connection, ask=_asker()))


@app.command("update")
def update_command(name: Name, set_: Set = None, remove: Remove = None) -> Answer:
    """Set fields of a connection; secrets that are not named stay as they are."""
    changes = _changes(set_)
    with open_workspace() as workspace:
        if _has(workspace, name):
            from jobs import assets

            return Answer(value=assets.update(workspace, KIND, name, sets(set_), removed=removals(remove)))
        return _answer(connection_store.update_connection(workspace, name, changes, ask=_asker()))


@app.command("show")
def show_command(name: Name) -> Answer:
    """Show a connection; its secrets are asterisks."""
    with open_workspace() as workspace:
        if _has(workspace, name):
            from jobs import assets

            return Answer(value=assets.show(workspace, KIND, name))
        return _answer(connection_store.show(workspace, name))


@app.command("list")
def list_command() -> Answer:
    """List the connections."""
    from jobs import assets

    with open_workspace() as workspace:
        kept = [each for each in assets.list_all(workspace, KIND) if _has(workspace, each["name"])]
        names = {each["name"] for each in kept}
        stored = [each for each in connection_store.list_connections(workspace) if each.name not in names]
    rows = [each | {"connection": each["name"]} for each in kept]
    rows += [each.shown() | {"connection": each.name, "changed": moment(each.updated_at)} for each in stored]
    return Answer(value=rows, columns=COLUMNS, next="" if rows else "studiolo connection create -f connection.yml")


@app.command("delete")
def delete_command(name: Name, yes: Yes = False) -> None:
    """Forget a connection."""
    from jobs import assets

    confirm(f"Delete the connection {name}?", yes=yes)
    with open_workspace() as workspace:
        assets.delete(workspace, KIND, name)


def _is_azure(file: Path) -> bool:
    """Whether a file is a connection as Azure ML writes it; else it is prompt flow's to read."""
    if file.suffix not in (".yml", ".yaml") or not file.exists():
        return False
    from workspace.documents import read_yaml

    root: Any = read_yaml(file).root
    return isinstance(root, dict) and bool(AZURE & root.keys())


def _has(workspace: Workspace, name: str) -> bool:
    return workspace.resources.find(KIND, name) is not None


def _answer(stored: Stored) -> Answer:
    fields = stored.shown()
    rows = [(key, value) for key, value in fields.items() if not isinstance(value, dict)]
    rows += [(f"{part}.{key}", value) for part in ("configs", "secrets") for key, value in fields.get(part, {}).items()]
    width = max(len(key) for key, _ in rows)
    return Answer(
        value=fields, words="\n".join(f"{key:{width}}  {'' if value is None else value}" for key, value in rows)
    )


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
