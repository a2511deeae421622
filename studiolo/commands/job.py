"""`studiolo job`: submit command jobs, follow them, look at them, cancel them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import studiolo
from jobs import records, submit
from jobs import replay as replaying
from jobs.files import read_job
from jobs.files.command import CommandJob
from studiolo.services import TRACKING
from workspace.errors import StudioloError

app = typer.Typer(help="Submit command jobs, follow them, look at them, cancel them.")

Name = Annotated[str, typer.Argument(help="The job's name.")]
Stream = Annotated[bool, typer.Option("--stream", "-s", help="Follow the log to the end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_SHOWN = (
    "name", "kind", "status", "exit_code", "error", "run_id", "submitted_at", "started_at", "ended_at", "attempt",
    "retries", "parent", "display_name", "experiment", "tags", "properties", "usage",
)  # fmt: skip


@app.command()
def create(
    file: Annotated[Path, typer.Option("--file", "-f", help="The job file.")],
    stream: Stream = False,
    retries: Annotated[int | None, typer.Option(help="Attempts that may fail and be made again.", min=0)] = None,
) -> None:
    """Submit a job; it goes on when this terminal closes."""
    job = read_job(file)
    err = Console(stderr=True, highlight=False)
    for finding in job.findings:
        err.print(f"{'note' if finding.weight == 'note' else 'warning'}: {finding.what}", markup=False)
    if not isinstance(job, CommandJob):
        raise StudioloError(f"jobs of type {type(job).__name__} cannot be run yet", hint="known: command")
    with studiolo.open_workspace() as workspace:
        record = submit.submit(workspace, job, submit.Wishes(retries=retries, tracking=TRACKING))
        print(record.name)
        if stream:
            _follow(record.name)
        else:
            err.print(f"next: studiolo job stream {record.name}")


@app.command()
def stream(name: Name) -> None:
    """Follow a job's log until the job ends; exit with 1 where it did not complete."""
    _follow(name)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one job."""
    with studiolo.open_workspace() as workspace:
        job = records.get(workspace, name)
    if as_json:
        print(json.dumps({field: getattr(job, field) for field in _SHOWN}))
        return
    took = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in job.usage.items())
    for label, value in (("name", job.name), ("status", job.status), ("exit code", job.exit_code), ("error", job.error),
                         ("attempt", job.attempt or None), ("run", job.run_id), ("took", took or None),
                         ("command", job.spec.get("command"))):  # fmt: skip
        if value is not None:
            print(f"{label:10} {value}")


@app.command()
def replay(name: Name, stream: Stream = False) -> None:
    """Run a job again as it was; say what differs from then, and with --stream in what it left."""
    with studiolo.open_workspace() as workspace:
        again, differences = replaying.replay(workspace, name)
        print(again.name)
        for each in differences or ("nothing differs from then",):
            print(each, file=sys.stderr)
        if not stream:
            return
        for chunk in submit.stream(workspace, again.name):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        ended = submit.wait(workspace, again.name)
        left = replaying.compare_outputs(workspace, records.get(workspace, name), ended)
    for difference in left or ("its outputs are the same to the byte",):
        print(difference, file=sys.stderr)
    if left:
        raise StudioloError(f"job {again.name!r} is not what {name!r} was")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    with studiolo.open_workspace() as workspace:
        found = records.list_jobs(workspace)
    if as_json:
        print(json.dumps([{"name": job.name, "status": job.status, "exit_code": job.exit_code} for job in found]))
        return
    table = Table("name", "status", "exit", "submitted", box=None)
    for job in found:
        moment = f"{datetime.fromtimestamp(job.submitted_at, UTC):%Y-%m-%d %H:%M}"
        table.add_row(job.name, job.status, "" if job.exit_code is None else str(job.exit_code), moment)
    Console().print(table)


@app.command()
def cancel(name: Name) -> None:
    """End a job: SIGTERM to its processes, SIGKILL ten seconds later."""
    with studiolo.open_workspace() as workspace:
        print(submit.cancel(workspace, name).status)


def _follow(name: str) -> None:
    with studiolo.open_workspace() as workspace:
        for chunk in submit.stream(workspace, name):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        job = records.get(workspace, name)
    if job.status != "Completed":
        ended = f" with exit code {job.exit_code}" if job.exit_code is not None else ""
        raise StudioloError(f"job {name!r} {job.status.lower()}{ended}", hint=job.error or f"studiolo job show {name}")
