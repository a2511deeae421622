"""`studiolo explain`: where one answer came from."""

from __future__ import annotations

from typing import Annotated

import typer

import studiolo
from studiolo import explain as explaining
from studiolo.commands.show import print_json


def explain(
    answer: Annotated[str, typer.Argument(help="An answer's id (chatcmpl-…, resp_…, msg_…), or its x-request-id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print where an answer came from: key, deployment, rollout, flow, weights, and what they were made from."""
    with studiolo.open_workspace() as workspace:
        found = explaining.explain(workspace, answer)
        if not as_json:
            print(explaining.tree(workspace, found))
            return
        rollout = found.rollout and {"id": found.rollout.id, "state": found.rollout.state}
        told = {"at": found.at, "request": found.row, "assets": found.assets, "upstream": found.upstream}
        print_json(told | {"rollout": rollout, "flow": found.line})
