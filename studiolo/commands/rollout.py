"""`studiolo rollout`: let a deployment take over an endpoint step by step, and lose it again where it is worse."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import studiolo
from serving.rollouts import files, records
from serving.rollouts.records import ENDED, Rollout
from studiolo.commands.scoring_options import changes
from studiolo.commands.show import moment, print_json, print_table
from workspace.errors import StudioloError

app = typer.Typer(help="Let a deployment take over an endpoint step by step; it is taken back where it is worse.")

Which = Annotated[str, typer.Argument(help="The rollout's id, or the endpoint: its newest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def start(
    file: Annotated[Path, typer.Option("--file", "-f", help="The plan: endpoint, deployment, steps, guards.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="A value of the file: bake=5m")] = None,
    force: Annotated[bool, typer.Option("--force", help="Try again what was turned away just now.")] = False,
    follow: Annotated[bool, typer.Option("--watch", help="Watch until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin with the first step."""
    plan = files.read(file, changes=changes(set_))
    with studiolo.open_workspace() as workspace:
        rollout = records.start(workspace, plan, force=force)
    if as_json:
        print_json(_plain(rollout))
    else:
        print(f"{rollout.id}: {plan.path} gets {rollout.percent:g} % of {plan.endpoint!r}")
    if follow:
        _watch(rollout.id)
    elif not as_json:
        print(f"next: studiolo rollout watch {rollout.id}", file=sys.stderr)


@app.command()
def show(which: Which, as_json: AsJson = False) -> None:
    """Show a rollout, what each guard has seen, and why it ended."""
    with studiolo.open_workspace() as workspace:
        rollout = records.get(workspace, which)
    if as_json:
        print_json(_plain(rollout))
        return
    print(_line(rollout))
    rows = [
        (name, told["what"], _share(told["candidate"]), _share(told["baseline"]), f"{told['margin']:.0%}",
         f"{told['progress']:.0%}")
        for name, told in rollout.evidence.get("told", {}).items()
    ]  # fmt: skip
    if rows:
        print_table(("guard", "share of", "candidate", "baseline", "may be worse by", "evidence"), rows)


@app.command("list")
def list_command(
    endpoint: Annotated[str | None, typer.Option("--endpoint", "-e", help="Of this endpoint only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List rollouts, newest first."""
    with studiolo.open_workspace() as workspace:
        found = records.listed(workspace, endpoint=endpoint)
    if as_json:
        print_json([_plain(rollout) for rollout in found])
        return
    rows = [
        (each.id, each.plan.path, each.state, f"{each.percent:g} %", moment(each.created_at), each.reason or "")
        for each in found
    ]
    print_table(("id", "candidate", "state", "step", "begun", "reason"), rows)


@app.command()
def watch(which: Which) -> None:
    """Follow a rollout until it ends; exit with 1 where it was aborted. Ctrl-C stops watching, not the rollout."""
    _watch(which)


@app.command()
def pause(which: Which, reason: Annotated[str, typer.Option(help="Why.")] = "by hand") -> None:
    """Stay at this step, unwatched, until it is resumed."""
    with studiolo.open_workspace() as workspace:
        print(_line(records.pause(workspace, records.get(workspace, which), reason)))


@app.command()
def resume(which: Which) -> None:
    """Go on with the step at which it was paused."""
    with studiolo.open_workspace() as workspace:
        print(_line(records.resume(workspace, records.get(workspace, which))))


@app.command()
def abort(which: Which, reason: Annotated[str, typer.Option(help="Why.")] = "by hand") -> None:
    """Give the traffic back to what had it before."""
    with studiolo.open_workspace() as workspace:
        rollout = records.get(workspace, which)
        if rollout.state in ENDED:
            raise StudioloError(f"rollout {rollout.id} has ended: {rollout.state}", hint=rollout.reason)
        print(_line(records.abort(workspace, rollout, reason)))


def _watch(which: str) -> None:
    said = ""
    with studiolo.open_workspace() as workspace:
        while True:
            rollout = records.get(workspace, which)
            if (line := _line(rollout)) != said:
                print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
                said = line
            if rollout.state in ENDED:
                break
            time.sleep(0.5)
    if rollout.state == "ABORTED":
        raise StudioloError(f"{rollout.plan.path} was turned away", hint=f"studiolo rollout show {rollout.id}")


def _line(rollout: Rollout) -> str:
    since = rollout.evidence.get("since", {})
    count = f", {since['requests']:,} of {rollout.plan.requests:,} requests" if since.get("requests") else ""
    if rollout.state in ENDED:
        count = ""
    why = f": {rollout.reason}" if rollout.reason else ""
    return f"{rollout.id} {rollout.plan.path} {rollout.state} at {rollout.percent:g} %{count}{why}"


def _share(side: dict[str, Any]) -> str:
    return "-" if side["mean"] is None else f"{side['mean']:.1%} of {side['count']:,}"


def _plain(rollout: Rollout) -> dict[str, Any]:
    names = ("id", "state", "step", "percent", "model", "before", "reason", "created_at", "stepped_at", "ended_at")
    found = {name: getattr(rollout, name) for name in names}
    plan = {"endpoint": rollout.plan.endpoint, "deployment": rollout.plan.deployment}
    return found | plan | {"guards": rollout.evidence.get("told", {})}
