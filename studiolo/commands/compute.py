"""`studiolo compute`: names of what jobs run on. Files that name one run here; a cluster is named by its address."""

from __future__ import annotations

from typing import Annotated

import typer

from studiolo.commands.assets import Description, Named, OfFile, Tags, create, tags_of, unversioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = unversioned("compute", "Keep the names of what jobs run on.")


@app.command("create")
def create_command(
    file: OfFile = None,
    name: Named = "",
    type_: Annotated[str, typer.Option("--type", "-t", help="amlcompute, computeinstance, kubernetes …")] = "",
    size: Annotated[str, typer.Option("--size", help="The machine, as Azure calls it; kept, without effect.")] = "",
    min_instances: Annotated[int | None, typer.Option("--min-instances", min=0, help="At least.")] = None,
    max_instances: Annotated[int | None, typer.Option("--max-instances", min=1, help="At most.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="dedicated or low_priority.")] = "",
    idle: Annotated[int | None, typer.Option("--idle-time-before-scale-down", min=0, help="Seconds.")] = None,
    description: Description = "",
    tags: Tags = None,
    set_: Set = None,
) -> Answer:
    """Keep a compute by name. Whatever it says of sizes and instances, this machine is what there is."""
    given = {
        "name": name, "type": type_ or ("" if file else "amlcompute"), "size": size, "tier": tier,
        "min_instances": min_instances, "max_instances": max_instances, "idle_time_before_scale_down": idle,
        "description": description, "tags": tags_of(tags),
    }  # fmt: skip
    return create("compute", file, given, set_)
