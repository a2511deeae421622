"""`studiolo datastore`: where data lies: folders here, and stores of clouds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studiolo.commands.assets import Named, OfFile, create, mounted, unversioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = unversioned("datastore", "Keep where data lies: folders here, and stores of clouds.")


@app.command("create")
def create_command(file: OfFile = None, name: Named = "", set_: Set = None) -> Answer:
    """Keep a datastore of a file; its secrets are sealed."""
    return create("datastore", file, {"name": name}, set_)


@app.command("mount")
def mount_command(
    path: Annotated[str, typer.Option("--path", "-p", help="azureml://datastores/NAME/paths/…, or NAME.")],
    mount_point: Annotated[Path, typer.Option("--mount-point", help="The folder that shows it; empty, or not there.")],
    mode: Annotated[str, typer.Option("--mode", help="ro_mount: it is for reading alone.")] = "ro_mount",
) -> Answer:
    """Show what lies in a datastore in a folder: a copy of it as it is now, for reading."""
    whole = path if "://" in path else f"azureml://datastores/{path.removeprefix('azureml:')}/paths/"
    return mounted(whole, mount_point, mode)
