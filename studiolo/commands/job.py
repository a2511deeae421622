"""`studiolo job`: jobs from files, followed, looked at, downloaded, cancelled, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import studiolo
from studiolo import job_shapes
from studiolo.commands.changing import Add, Remove, Set, removals, sets
from studiolo.commands.following import failure, followed
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from workspace.errors import Invalid, StudioloError

if TYPE_CHECKING:
    from jobs.files.command import Job
    from workspace.home import Workspace

app = Group(help="Submit jobs, follow them, look at them, cancel them.")
COLUMNS = ("name", "type", "status", "exit_code", "experiment_name", "display_name")
MOST = 50  # jobs in a list
ALL = 1_000_000

File = Annotated[Path, typer.Option("--file", "-f", help="The job file.")]
Name = Annotated[str, typer.Argument(help="The job's name.")]
Stream = Annotated[bool, typer.Option("--stream", "-s", help="Follow the log to the end.")]
Web = Annotated[bool, typer.Option("--web", "-e", help="Say where the studio shows it.")]


@app.command()
def create(
    file: File,
    name: Annotated[str, typer.Option("--name", "-n", help="Its name, instead of the file's.")] = "",
    set_: Set = None,
    stream: Stream = False,
    web: Web = False,
    save_as: Annotated[Path | None, typer.Option("--save-as", "-a", help="Write what was made to this file.")] = None,
    retries: Annotated[int | None, typer.Option(help="Attempts that may fail and be made again.", min=0)] = None,
    debug: Annotated[str, typer.Option(help="Run this step of a pipeline here, under your debugger.")] = "",
    skip_validation: Annotated[bool, typer.Option("--skip-validation", help="Taken, and not needed.")] = False,
) -> Answer:
    """Submit a job; it goes on when this terminal closes. With --stream the exit code is 1 where it fails."""
    job = _read(file, name, set_)
    if skip_validation:
        typer.echo("note: a file is always checked; that takes milliseconds and asks no service", err=True)
    with studiolo.open_workspace() as workspace:
        if debug:
            _debug(workspace, job, debug)
        from studiolo.job_making import make

        made = make(workspace, job, retries=retries)
        shown = job_shapes.job(workspace, made)
        if save_as:
            _save(shown, save_as)
        if web:
            typer.echo(f"web: {shown['services']['Studio']['endpoint']}", err=True)
        if not stream:
            return Answer(value=shown, words=made.name, next=f"studiolo job stream {made.name}")
        typer.echo(made.name, err=True)
        ended = followed(workspace, made.name)
        return Answer(value=job_shapes.job(workspace, ended), words="", failure=failure(ended))


@app.command()
def validate(file: File, set_: Set = None) -> Answer:
    """Check a job file and submit nothing; exit with 1 where it cannot be right."""
    from jobs.files import read_job

    try:
        job = read_job(file, sets(set_))
    except Invalid as problem:
        told = {"message": str(problem), "location": str(problem.at or file), "hint": problem.hint}
        value = {"result": "Failed", "errors": [told], "warnings": []}
        return Answer(value=value, words="Failed", failure=problem)
    warnings = [{"message": each.what, "location": str(each.at)} for each in job.findings]
    words = "\n".join(["Succeeded", *(f"{each.weight}: {each}" for each in job.findings)])
    return Answer(value={"result": "Succeeded", "errors": [], "warnings": warnings}, words=words)


@app.command()
def stream(name: Name) -> Answer:
    """Follow a job's log until the job ends; exit with 1 where it did not complete."""
    with studiolo.open_workspace() as workspace:
        ended = followed(workspace, name)
    return Answer(value=None, words="", failure=failure(ended))


@app.command()
def show(name: Name, web: Web = False) -> Answer:
    """Show one job."""
    from jobs import records

    with studiolo.open_workspace() as workspace:
        job = records.get(workspace, name)
        shown = job_shapes.job(workspace, job)
        words = job_shapes.words(job, records.list_jobs(workspace, parent=job.name, archived=True))
    if web:
        typer.echo(f"web: {shown['services']['Studio']['endpoint']}", err=True)
    return Answer(value=shown, words=words)


@app.command("list")
def list_command(
    max_results: Annotated[int, typer.Option("--max-results", "-r", min=1, help="How many, the newest.")] = MOST,
    parent: Annotated[str, typer.Option("--parent-job-name", "-p", help="The children of this job.")] = "",
    archived_only: Annotated[bool, typer.Option("--archived-only", help="Those that are archived.")] = False,
    include_archived: Annotated[bool, typer.Option("--include-archived", help="Those that are archived too.")] = False,
    all_results: Annotated[bool, typer.Option("--all-results", help="All there are.")] = False,
) -> Answer:
    """List jobs, newest first; of a pipeline or a sweep the job itself, its children with --parent-job-name."""
    from jobs import records

    with studiolo.open_workspace() as workspace:
        found = records.list_jobs(
            workspace, limit=ALL if all_results else max_results, parent=parent,
            archived=archived_only or include_archived, active=not archived_only,
        )  # fmt: skip
        shown = [job_shapes.job(workspace, job) for job in found]
    return Answer(value=shown, columns=COLUMNS, next="" if found or parent else "studiolo job create -f job.yml")


@app.command()
def cancel(name: Name) -> Answer:
    """End a job and its children: SIGTERM to its processes, SIGKILL ten seconds later."""
    from jobs import submit

    with studiolo.open_workspace() as workspace:
        job = submit.cancel(workspace, name)
        return Answer(value=job_shapes.job(workspace, job), words=job.status)


@app.command()
def download(
    name: Name,
    path: Annotated[Path, typer.Option("--download-path", "-p", help="The folder that gets them.")] = Path(),
    everything: Annotated[bool, typer.Option("--all", help="All outputs, and what was written beside them.")] = False,
    output: Annotated[str, typer.Option("--output-name", help="This output.")] = "",
) -> Answer:
    """Copy what a job has left: its ./outputs, ./logs and log to `artifacts`, an output to `named-outputs`."""
    from studiolo import job_files

    with studiolo.open_workspace() as workspace:
        made = job_files.download(workspace, name, path, output=output, everything=everything)
    return Answer(value=[str(each) for each in made], words="\n".join(str(each) for each in made))


@app.command()
def update(name: Name, set_: Set = None, add: Add = None, remove: Remove = None) -> Answer:
    """Change what is said of a job: display_name, description, tags, properties, experiment_name."""
    from jobs import records
    from jobs.assets.versions import changed
    from jobs.files.expressions import render

    with studiolo.open_workspace() as workspace:
        job = records.get(workspace, name)
        before: dict[str, Any] = {
            "display_name": job.display_name, "description": job.description, "experiment_name": job.experiment,
            "tags": dict(job.tags), "properties": dict(job.properties),
        }  # fmt: skip
        wanted = changed(before, sets(set_, add), removals(remove))
        words = {key: value for key, value in wanted.items() if before.get(key) != value}
        for key in ("tags", "properties"):
            if key in words:
                words[key] = {name: render(value) for name, value in words[key].items()}
        job = records.change(workspace, name, words)
        return Answer(value=job_shapes.job(workspace, job), words=f"changed: {', '.join(words) or 'nothing'}")


@app.command()
def archive(name: Name) -> Answer:
    """Take a job out of the lists; nothing of it goes."""
    return _archive(name, archived=True)


@app.command()
def restore(name: Name) -> Answer:
    """Put an archived job back into the lists."""
    return _archive(name, archived=False)


@app.command()
def replay(name: Name, stream: Stream = False) -> Answer:
    """Run a job again as it was; say what differs from then, and with --stream in what it left."""
    from jobs import records
    from jobs import replay as replaying

    with studiolo.open_workspace() as workspace:
        again, differences = replaying.replay(workspace, name)
        for each in differences or ("nothing differs from then",):
            typer.echo(str(each), err=True)
        if not stream:
            following = f"studiolo job stream {again.name}"
            return Answer(value=job_shapes.job(workspace, again), words=again.name, next=following)
        typer.echo(again.name, err=True)
        ended = followed(workspace, again.name)
        left = replaying.compare_outputs(workspace, records.get(workspace, name), ended)
        shown = job_shapes.job(workspace, ended)
    for difference in left or ("its outputs are the same to the byte",):
        typer.echo(str(difference), err=True)
    failure = StudioloError(f"job {again.name!r} is not what {name!r} was") if left else None
    return Answer(value=shown, words="", failure=failure)


@app.command("show-services")
def show_services(name: Name) -> Answer:
    """Show where a job is looked at. What a job itself opens, its command says: it runs on this machine."""
    from jobs import records

    with studiolo.open_workspace() as workspace:
        services = job_shapes.job(workspace, records.get(workspace, name))["services"]
    words = "\n".join(f"{key}  {each['endpoint']}" for key, each in services.items() if "endpoint" in each)
    return Answer(value=services, words=words)


def _read(file: Path, name: str, set_: list[str] | None) -> Job:
    from jobs.files import read_job

    job = read_job(file, (*sets(set_), ("name", name)) if name else sets(set_))
    for finding in job.findings:
        typer.echo(f"{'note' if finding.weight == 'note' else 'warning'}: {finding.what}", err=True)
    return job


def _debug(workspace: Workspace, job: Job, step: str) -> NoReturn:
    """Run a step here, with this terminal, and end as it ends."""
    from jobs.files.pipeline import PipelineJob
    from jobs.pipelines.debug import debug
    from studiolo.job_making import TRACKING

    if not isinstance(job, PipelineJob):
        raise Invalid("--debug is for a step of a pipeline", hint="run the command of a job by hand")
    raise typer.Exit(debug(workspace, job, step, tracking=TRACKING))


def _save(shown: dict[str, Any], path: Path) -> None:
    from studiolo.commands.formats import as_yaml
    from workspace.paths import write_atomically

    write_atomically(path, as_yaml(shown))


def _archive(name: str, *, archived: bool) -> Answer:
    from jobs import records

    with studiolo.open_workspace() as workspace:
        job = records.archive(workspace, name, archived=archived)
        return Answer(
            value=job_shapes.job(workspace, job), words=f"{job.name} {'archived' if archived else 'restored'}"
        )


@app.command("sweep-report")
def sweep_report(
    name: Name,
    page: Annotated[Path, typer.Option("--page", "-p", help="The HTML file to write.")] = Path("sweep.html"),
) -> Answer:
    """Draw a sweep as it is now: how the best grew, which values led where, and which of them mattered."""
    from jobs.sweeps.draw import page_of
    from workspace.paths import write_atomically

    with studiolo.open_workspace() as workspace:
        write_atomically(page, page_of(workspace, name, with_importance=True), mode=0o644)
    return Answer(value=str(page), words=f"wrote {page}")
