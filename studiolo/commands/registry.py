"""`studiolo registry`: shelves of assets that several workspaces share."""

from __future__ import annotations

from studiolo.commands.assets import Named, OfFile, create, unversioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = unversioned("registry", "Keep shelves of assets that several workspaces share.")


@app.command("create")
def create_command(file: OfFile = None, name: Named = "", set_: Set = None) -> Answer:
    """Keep a registry of a file."""
    return create("registry", file, {"name": name}, set_)
