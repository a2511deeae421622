"""`studiolo schedule`: jobs that run again and again, by the clock, by hand or over HTTP."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import studiolo
from studiolo.commands.changing import Add, Remove, Set, removals, sets
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import Yes, confirm
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.schedules.store import ScheduleRecord

app = Group(help="Run jobs again and again: by the clock, by hand or over HTTP.")
COLUMNS = ("name", "type", "when", "is_enabled", "next_run", "display_name")

Name = Annotated[str, typer.Argument(help="The schedule's name.")]
File = Annotated[Path | None, typer.Option("--file", "-f", help="The schedule file, in Azure ML's YAML.")]


@app.command()
def create(
    file: File = None,
    job: Annotated[Path | None, typer.Option("--job", help="A job file: fired by hand and over HTTP only.")] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Its name, instead of the file's.")] = "",
    set_: Set = None,
) -> Answer:
    """Make a schedule, or put it in the place of the one of that name. `studiolo up` fires it."""
    from jobs.files import read_job, read_schedule
    from jobs.schedules import definition, store
    from studiolo import schedule_shapes

    if job is not None and file is None:
        made = definition.of_job(read_job(job, sets(set_)), name or job.stem)
    elif file is not None and job is None:
        made = read_schedule(file, (*sets(set_), *([("name", name)] if name else [])))
    else:
        raise Invalid("one file is needed", hint="--file schedule.yml, or --job job.yml --name NAME")
    for finding in made.findings:
        typer.echo(f"{finding.weight}: {finding.what}", err=True)
    now = time.time()
    with studiolo.open_workspace() as workspace:
        record = store.put(workspace, made, now=now)
    shown = schedule_shapes.schedule(record, now)
    return Answer(value=shown, words=schedule_shapes.words(record, [], now), next=_following(record.name))


@app.command()
def show(name: Name) -> Answer:
    """Show a schedule, when it is due next, and what was fired lately."""
    from jobs.schedules import firing, store
    from studiolo import schedule_shapes

    now = time.time()
    with studiolo.open_workspace() as workspace:
        record = store.get(workspace, name)
        fired = firing.listed(workspace, name)
    value = schedule_shapes.schedule(record, now) | {"firings": [schedule_shapes.firing(each) for each in fired]}
    return Answer(value=value, words=schedule_shapes.words(record, fired, now))


@app.command("list")
def list_command(
    enabled_only: Annotated[bool, typer.Option("--enabled-only", help="Those that are enabled; as without.")] = False,
    disabled_only: Annotated[bool, typer.Option("--disabled-only", help="Those that are disabled.")] = False,
    include_disabled: Annotated[bool, typer.Option("--include-disabled", help="Disabled ones too.")] = False,
    max_results: Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many.")] = 1000,
) -> Answer:
    """List the schedules that are enabled, each with when it is due next."""
    from jobs.schedules import store
    from studiolo import schedule_shapes

    wanted = {not disabled_only, *([False] if include_disabled and not enabled_only else [])}
    with studiolo.open_workspace() as workspace:
        found = [each for each in store.listed(workspace) if each.enabled in wanted]
    now = time.time()
    shown = [schedule_shapes.schedule(each, now, count=1) for each in found[:max_results]]
    return Answer(value=shown, columns=COLUMNS)


@app.command()
def update(name: Name, file: File = None, set_: Set = None, add: Add = None, remove: Remove = None) -> Answer:
    """Change a schedule: --set trigger.expression='0 3 * * *', create_job.inputs.rate=0.1, or by another file."""
    from jobs.files import read_schedule
    from jobs.schedules import store

    now = time.time()
    with studiolo.open_workspace() as workspace:
        store.get(workspace, name)
        if file is not None:
            store.put(workspace, read_schedule(file, (("name", name),)), now=now)
        record = store.change(workspace, name, sets(set_, add), now=now, removed=removals(remove))
        return _shown(record, now)


@app.command()
def enable(name: Name) -> Answer:
    """Have the clock fire a schedule; what it would have fired while disabled is not made up for."""
    return _switch(name, enabled=True)


@app.command()
def disable(name: Name) -> Answer:
    """Keep the clock from firing a schedule; it can still be triggered."""
    return _switch(name, enabled=False)


@app.command()
def delete(name: Name, yes: Yes = False) -> Answer:
    """Remove a schedule and its history; its jobs stay."""
    from jobs.schedules import store

    with studiolo.open_workspace() as workspace:
        store.get(workspace, name)
        confirm(f"Remove schedule {name!r}?", yes=yes)
        store.remove(workspace, name)
    return Answer(value=None, words=f"schedule {name!r} is removed")


@app.command()
def trigger(name: Name, set_: Set = None) -> Answer:
    """Fire a schedule now, enabled or not, with other values where they are set: --set inputs.rate=0.1."""
    from jobs.assets.versions import changed
    from jobs.schedules import firing
    from jobs.submit import Wishes
    from studiolo import schedule_shapes
    from studiolo.job_making import TRACKING

    parameters = changed({}, sets(set_), ())
    with studiolo.open_workspace() as workspace:
        done, _ = firing.trigger(workspace, name, parameters, now=time.time(), wishes=Wishes(tracking=TRACKING))
    return Answer(value=schedule_shapes.firing(done), words=done.job, next=f"studiolo job stream {done.job}")


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Fire what is due now, and end.")] = False,
) -> Answer:
    """Fire schedules from this terminal until Ctrl-C, where `studiolo up` does not run; both at once fire once."""
    from jobs.schedules import firing
    from jobs.submit import Wishes
    from studiolo import schedule_shapes
    from studiolo.job_making import TRACKING

    fired = []
    with studiolo.open_workspace() as workspace:
        while True:
            for done in firing.tick(workspace, time.time(), Wishes(tracking=TRACKING)):
                fired.append(schedule_shapes.firing(done))
                typer.echo(f"{done.job}: {done.error or done.status}")
            if once:
                return Answer(value=fired, words="")
            threading.Event().wait(firing.EVERY)


def _switch(name: str, *, enabled: bool) -> Answer:
    from jobs.schedules import store

    now = time.time()
    with studiolo.open_workspace() as workspace:
        return _shown(store.switch(workspace, name, enabled=enabled, now=now), now)


def _shown(record: ScheduleRecord, now: float) -> Answer:
    from studiolo import schedule_shapes

    return Answer(value=schedule_shapes.schedule(record, now), words=schedule_shapes.words(record, [], now))


def _following(name: str) -> str:
    from studiolo.services import read_house

    with studiolo.open_workspace() as workspace:
        house = read_house(workspace.home)
    return f"studiolo schedule show {name}" if house and house.standing else "studiolo up"
