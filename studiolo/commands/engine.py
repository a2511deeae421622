"""`studiolo engine`: engines with environments of their own, and what an engine that runs says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from studiolo import open_workspace
from studiolo.commands.show import megabytes, moment, print_json, print_table

app = typer.Typer(help="List, install and remove engines; follow what one says.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_engines(as_json: AsJson = False) -> None:
    """List the engines and whether they are there."""
    from serving.engines import installs
    from serving.engines.launches import KINDS

    found = {name: installs.find(name) for name in installs.RECIPES}
    if as_json:
        print_json([{"name": name, "installed": found.get(name) or installs.comes_along(name)} for name in KINDS])
        return
    rows: list[tuple[Any, ...]] = []
    for name in KINDS:
        there = found.get(name)
        if there:
            rows.append(
                (name, f"{there.build} build", there.version, megabytes(there.size), moment(there.installed_at))
            )
        else:
            rows.append((name, "with Studiolo" if installs.comes_along(name) else "not installed", "", "", ""))
    print_table(("engine", "state", "version", "size", "installed"), rows, right=("size",))


@app.command()
def install(
    engine: Annotated[str, typer.Argument(help="vllm or llamacpp")],
    build: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(help="Without it: cuda where there is a GPU, else cpu.")
    ] = None,
    index: Annotated[str | None, typer.Option(help="A package index that is asked besides pip's own.")] = None,
) -> None:
    """Install an engine into an environment of its own, which all workspaces of this person share."""
    from serving.engines import installs

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as bars:
        task = bars.add_task(engine, total=None)
        for step in installs.install(engine, build=build, index=index):
            bars.update(task, description=f"{engine}: {step.text}", completed=step.done, total=step.total or None)
    found = installs.find(engine)
    if found:
        print(f"{found.name} {found.version} ({found.build} build, {megabytes(found.size)}) is in {found.folder}")


@app.command()
def remove(engine: Annotated[str, typer.Argument(help="vllm or llamacpp")]) -> None:
    """Remove an engine's environment; engines that run go on."""
    from serving.engines import installs

    installs.remove(engine)
    print(f"{engine} is removed")


@app.command()
def logs(
    engine: Annotated[str, typer.Argument(help="the name that `studiolo status` shows")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is said, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--tail", "-n", min=0, help="How many lines to begin with.")] = 50,
) -> None:
    """Show what an engine says, across its restarts."""
    from serving import engine_logs

    with open_workspace() as workspace:
        home = workspace.home
    for line in engine_logs.read(home, engine.removeprefix("engine "), lines=lines, follow=follow):
        typer.echo(line)
