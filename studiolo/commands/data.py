"""`studiolo data`: data by name and version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.assets import (
    Description,
    Named,
    OfFile,
    Tags,
    Version,
    create,
    mounted,
    shared,
    tags_of,
    versioned,
)
from studiolo.commands.changing import Set, sets
from studiolo.commands.formats import Answer

app = versioned("data", "Keep data by name and version.")
shared(app, "data")


@app.command("create")
def create_command(
    file: OfFile = None,
    name: Named = "",
    version: Version = "",
    path: Annotated[str, typer.Option("--path", "-p", help="A file or folder here, a URL, or a datastore's.")] = "",
    type_: Annotated[str, typer.Option("--type", "-t", help="uri_file, uri_folder or mltable.")] = "",
    description: Description = "",
    tags: Tags = None,
    set_: Set = None,
) -> Answer:
    """Register data, from a file or from options; the same content again is the same version."""
    given = {"name": name, "version": version, "path": path, "type": type_, "description": description}
    return create("data", file, given | {"tags": tags_of(tags)}, set_)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="The file of an import, in Azure ML's YAML.")],
    name: Named = "",
    version: Version = "",
    path: Annotated[str, typer.Option("--path", "-p", help="Where it goes, instead of the file's.")] = "",
    set_: Set = None,
) -> Answer:
    """Bring data from where a connection leads; it is a job, and its end is a new version."""
    from jobs.files import read_data_import
    from jobs.imports import job_of
    from studiolo import job_shapes
    from studiolo.job_making import make

    given = [(key, value) for key, value in (("name", name), ("version", version), ("path", path)) if value]
    found = read_data_import(file, (*given, *sets(set_)))
    with open_workspace() as workspace:
        made = make(workspace, job_of(found))
        shown = job_shapes.job(workspace, made)
    return Answer(value=shown, words=made.name, next=f"studiolo job stream {made.name}")


@app.command("mount")
def mount_command(
    path: Annotated[str, typer.Option("--path", "-p", help="azureml:NAME:VERSION, a datastore's path, or a URL.")],
    mount_point: Annotated[Path, typer.Option("--mount-point", help="The folder that shows it; empty, or not there.")],
    mode: Annotated[str, typer.Option("--mode", help="ro_mount: it is for reading alone.")] = "ro_mount",
) -> Answer:
    """Show data in a folder: a copy of it as it is now, for reading."""
    return mounted(path, mount_point, mode)
