"""`studiolo sync`: bring everything that is fed in the background up to date now."""

from __future__ import annotations

from typing import Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.show import print_json


def sync(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Take in the spool, refresh the ledger, carry runs and traces into MLflow. Doing it twice changes nothing."""
    from studiolo import request_traces, traces
    from workspace import tracking

    with open_workspace() as workspace:
        events = workspace.spool.ingest()
        lost = workspace.runs.settle()
        runs = workspace.sql("SELECT count(*) FROM runs").rows[0][0]
        carried = tracking.carry(workspace)
        told = 0
        for each in (traces, request_traces):
            while new := each.carry(workspace):
                told += new
    found = {"events": events, "runs": runs, "runs_lost": lost, "runs_carried": carried, "traces_carried": told}
    if as_json:
        print_json(found)
    else:
        print(f"{events} events taken in, {runs} runs in the ledger")
        print(f"{carried} runs and {told} traces carried into MLflow")
