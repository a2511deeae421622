"""`studiolo lineage`: what something was made from."""

from __future__ import annotations

from typing import Annotated

import typer

from studiolo import nodes, open_workspace
from studiolo.commands.show import print_json


def lineage(
    node: Annotated[str, typer.Argument(help="A run, or an asset: report:demo, data:questions:1, model:name@label.")],
    depth: Annotated[int, typer.Option(min=1, max=100, help="How many steps to follow.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the edges as JSON.")] = False,
) -> None:
    """Print what a run or an asset was made from, as a tree: report ← runs ← flow, data, model."""
    with open_workspace() as workspace:
        found = nodes.find(workspace, node)
        if as_json:
            print_json({"node": found, "upstream": workspace.lineage.upstream(found, depth)})
        else:
            print(workspace.lineage.tree(found, depth))
