"""`studiolo cluster`: a small Ray cluster on this machine, to try `compute: ray`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from studiolo import open_workspace
from studiolo.commands.show import megabytes, print_json, print_table
from workspace.errors import NotFound

app = typer.Typer(no_args_is_help=True)


@app.command()
def up(
    cpus: Annotated[
        int | None, typer.Option(min=1, help="Cores that jobs on it may take; those of the machine if not said.")
    ] = None,
) -> None:
    """Start a Ray head here, for this workspace, that lives until `cluster down`. It takes half a minute and 2 GB."""
    from jobs.ray import cluster

    with open_workspace() as workspace:
        Console(stderr=True, highlight=False).print("starting a Ray head …")
        found = cluster.up(workspace.settings, cpus=cpus)
    print(f"address    {found.url}")
    print(f"token      in {found.token}")
    print("next       write `compute: ray` in a job's file")


@app.command()
def down() -> None:
    """End the Ray head of this workspace, and all that runs on it."""
    from jobs.ray import cluster

    with open_workspace() as workspace:
        was = cluster.down(workspace.settings)
    Console(highlight=False).print("stopped" if was else "nothing was running")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the cluster that `compute: ray` means, and its machines."""
    from jobs.ray import cluster, places
    from jobs.ray.computes import NEAR

    with open_workspace() as workspace:
        try:
            place = places.place_of(workspace.settings, NEAR)
        except NotFound as problem:
            print(f"{problem}; {problem.hint}")
            raise typer.Exit(0 if not as_json else 1) from None
        found = cluster.describe(place.url, place.token)
    if as_json:
        print_json(found | {"files": "shared" if place.shared else "upload"})
        return
    print(f"Ray {found['version']} at {found['url']}")
    rows = [
        (each["address"], "head" if each["head"] else "", each["resources"].get("CPU", 0),
         each["resources"].get("GPU", 0), megabytes(each["resources"].get("memory", 0)))
        for each in found["nodes"]
    ]  # fmt: skip
    print_table(("node", "", "CPUs", "GPUs", "memory"), rows, right=("CPUs", "GPUs", "memory"))
