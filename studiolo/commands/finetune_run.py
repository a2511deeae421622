"""`studiolo finetune run`, `plan`, `list`, `show`: trainings begun, and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo import job_shapes
from studiolo.commands.changing import Set, sets
from studiolo.commands.following import failure, followed
from studiolo.commands.formats import Answer
from workspace.errors import Invalid

if TYPE_CHECKING:
    from jobs.files.command import Job
    from workspace.home import Workspace

COLUMNS = ("name", "type", "status", "experiment_name", "display_name")
MOST = 50  # trainings in a list

Spec = Annotated[Path | None, typer.Argument(help="The training file; none: --base and --data say enough.")]
Base = Annotated[str, typer.Option(help="The model to start from, as `base` in the file.")]
Data = Annotated[str, typer.Option(help="The rows to learn from, as `data` in the file.")]
Method = Annotated[str, typer.Option(help="sft, dpo, kto, orpo, classify, tag, embed or rerank, as in the file.")]
Resume = Annotated[str, typer.Option(help="A training that failed: the same again, from its last checkpoint on.")]


def run_command(
    spec: Spec = None,
    base: Base = "",
    data: Data = "",
    method: Method = "",
    resume: Resume = "",
    name: Annotated[str, typer.Option("--name", "-n", help="What the job is called.")] = "",
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and begin nothing.")] = False,
    stream: Annotated[bool, typer.Option("--stream", "-s", "--wait", help="Follow the log to the end.")] = False,
) -> Answer:
    """Train a model on rows; it goes on when this terminal closes. With --stream the exit code is 1 where it fails."""
    with studiolo.open_workspace() as workspace:
        job = _read(workspace, spec, _given(base, data, method, name), set_, resume)
        if dry_run:
            return _planned(workspace, job)
        from studiolo.job_making import make

        made = make(workspace, job)
        if not stream:
            shown = job_shapes.job(workspace, made)
            return Answer(value=shown, words=made.name, next=f"studiolo job stream {made.name}")
        typer.echo(made.name, err=True)
        ended = followed(workspace, made.name)
        return Answer(value=job_shapes.job(workspace, ended), words="", failure=failure(ended))


def plan_command(
    spec: Spec = None,
    base: Base = "",
    data: Data = "",
    method: Method = "",
    set_: Set = None,
    price_per_hour: Annotated[float | None, typer.Option(help="What an hour of this machine costs.")] = None,
) -> Answer:
    """Say what a training would take - memory, time, cost - and what does not fit; nothing is trained."""
    given = _given(base, data, method, "")
    if price_per_hour is not None:
        given["price_per_hour"] = price_per_hour
    with studiolo.open_workspace() as workspace:
        return _planned(workspace, _read(workspace, spec, given, set_, ""))


def list_command(
    max_results: Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many, the newest.")] = MOST,
) -> Answer:
    """List trainings, newest first."""
    from studiolo.tuning.listing import trainings

    with studiolo.open_workspace() as workspace:
        shown = [job_shapes.job(workspace, job) for job in trainings(workspace, limit=max_results)]
    return Answer(value=shown, columns=COLUMNS, next="" if shown else "studiolo finetune run SPEC.yml")


def show_command(name: Annotated[str, typer.Argument(help="The training: its job.")]) -> Answer:
    """Show a training: what was chosen, how the loss fell, what came out."""
    from studiolo.tuning.listing import shown, words

    with studiolo.open_workspace() as workspace:
        found = shown(workspace, name)
    return Answer(value=found, words=words(found), next=f"studiolo finetune compare {found['model'] or name}")


def _given(base: str, data: str, method: str, name: str) -> dict[str, Any]:
    given = {"base": base, "data": data, "method": method, "name": name}
    return {key: value for key, value in given.items() if value}


def _planned(workspace: Workspace, job: Job) -> Answer:
    from studiolo.tuning.plan import planned, words

    plan = planned(workspace, job)
    return Answer(value=plan, words=words(plan))


def _read(workspace: Workspace, spec: Path | None, given: dict[str, Any], set_: list[str] | None, resume: str) -> Job:
    from studiolo.tuning import files

    overrides = (*given.items(), *sets(set_))
    if resume:
        from studiolo.tuning.resuming import again

        return again(workspace, resume, overrides)
    if spec is not None:
        return files.read(spec, overrides)
    if not {"base", "data"} <= given.keys():
        raise Invalid("what is to be trained on what?", hint="studiolo finetune run SPEC.yml, or --base and --data")
    return files.made(given, sets(set_))
