"""`studiolo datastore`: where data lies: folders here, and stores of clouds."""

from __future__ import annotations

from studiolo.commands.assets import Named, OfFile, create, unversioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = unversioned("datastore", "Keep where data lies: folders here, and stores of clouds.")


@app.command("create")
def create_command(file: OfFile = None, name: Named = "", set_: Set = None) -> Answer:
    """Keep a datastore of a file; its secrets are sealed."""
    return create("datastore", file, {"name": name}, set_)
