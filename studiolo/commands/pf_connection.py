"""`studiolo pf connection`: connections in prompt flow's words."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studiolo import open_workspace
from studiolo.commands.pf_options import command, print_json, several
from workspace.errors import Invalid


def add(commands: Any) -> None:
    """Add the commands of the group."""
    create = command(commands, "create", "keep the connection of a file", _create)
    create.add_argument("-f", "--file", type=Path, required=True, help="a connection in YAML, or a .env file")
    create.add_argument("-n", "--name", help="call it this")
    several(create, "--set", "field=value …", dest="params")
    update = command(commands, "update", "change fields of a connection", _update)
    update.add_argument("-n", "--name", required=True)
    several(update, "--set", "field=value …", dest="params")
    listed = command(commands, "list", "list connections", _list)
    listed.add_argument("-r", "--max-results", type=int, default=50)
    listed.add_argument("--all-results", action="store_true")
    show = command(commands, "show", "show a connection without its secrets", _show)
    show.add_argument("-n", "--name", required=True)
    delete = command(commands, "delete", "forget a connection", _delete)
    delete.add_argument("-n", "--name", required=True)
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _create(given: argparse.Namespace) -> None:
    from flows import connection_files, connection_store

    connection = connection_files.read(given.file, name=given.name, changes=_changes(given))
    with open_workspace() as workspace:
        print_json(connection_store.create(workspace, connection, ask=_asker()).shown())


def _update(given: argparse.Namespace) -> None:
    from flows import connection_store

    with open_workspace() as workspace:
        print_json(connection_store.update_connection(workspace, given.name, _changes(given), ask=_asker()).shown())


def _list(given: argparse.Namespace) -> None:
    from flows import connection_store

    with open_workspace() as workspace:
        found = connection_store.list_connections(workspace)
    print_json([each.shown() for each in (found if given.all_results else found[: given.max_results])])


def _show(given: argparse.Namespace) -> None:
    from flows import connection_store

    with open_workspace() as workspace:
        print_json(connection_store.show(workspace, given.name).shown())


def _delete(given: argparse.Namespace) -> int:
    from flows import connection_store

    if not given.yes and sys.stdin.isatty():
        answer = input(f"Delete connection {given.name}? [y/N] ")
        if answer.strip().casefold() not in ("y", "yes"):
            return 1
    with open_workspace() as workspace:
        connection_store.delete_connection(workspace, given.name)
    return 0


def _changes(given: argparse.Namespace) -> dict[str, str]:
    found = {}
    for text in given.params or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # What was given is not repeated: it may be the secret itself.
            raise Invalid("--set needs field=value", hint="for example --set api_key='<user-input>'")
        found[name] = value
    return found


def _asker() -> Callable[[str], str]:
    if sys.stdin.isatty():
        return lambda key: getpass.getpass(f"Please input {key}: ")
    return lambda _: sys.stdin.readline().rstrip("\n")
