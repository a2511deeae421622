"""`studiolo data`: data by name and version."""

from __future__ import annotations

from typing import Annotated

import typer

from studiolo.commands.assets import Description, Named, OfFile, Tags, Version, create, tags_of, versioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = versioned("data", "Keep data by name and version.")


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
