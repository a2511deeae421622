"""`studiolo demo`: the whole loop, from a question to a report with its lineage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from workspace.errors import PartialFailure

if TYPE_CHECKING:
    from studiolo.demo import Finished


def demo(
    output: Annotated[Path, typer.Option(help="The folder for the three reports.")] = Path("reports"),
    copy_flow: Annotated[
        Path | None, typer.Option(help="Copy the demo's flow to this new folder instead, to make it yours.")
    ] = None,
) -> None:
    """Ask 56 questions in two ways, score the answers, compare the two ways, and show where the answers came from."""
    import studiolo
    from studiolo import demo as loop

    if copy_flow is not None:
        target = loop.copy_flow(copy_flow)
        print(f"{target}: flow.dag.yaml, two prompts, one tool, questions.jsonl")
        Console(stderr=True).print(f'next: studiolo flow test --flow {target} --inputs question="…"', highlight=False)
        return
    started = time.monotonic()
    with studiolo.open_workspace() as workspace, _progress() as progress:
        task = None
        finished = None
        for event in loop.demo(workspace, output):
            if isinstance(event, loop.Stage):
                _finish(progress, task)
                task = progress.add_task(event.text, total=event.steps)
            elif isinstance(event, loop.Step) and task is not None:
                progress.advance(task)
            elif isinstance(event, loop.Finished):
                finished = event
        _finish(progress, task)
    assert finished is not None  # noqa: S101 - the last event is always this one
    tell(finished, time.monotonic() - started)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def _finish(progress: Progress, task: TaskID | None) -> None:
    if task is not None:  # a stage that could not say how many steps it has says so now
        progress.update(task, total=progress.tasks[task].completed)


def tell(finished: Finished, seconds: float) -> None:
    """Print what the demo found; PartialFailure where lines got no answer."""
    for finding in finished.findings:
        print(f"{finding.metric}: {finding.sentence}")
    print()
    print(finished.lineage)
    print()
    for file in finished.files:
        print(file)
    console = Console(stderr=True, highlight=False)
    console.print(f"\ndone in {seconds:.0f} s; open {finished.files[0]} in a browser")
    console.print(f"next: studiolo runs list, or studiolo lineage {finished.report.kind}:{finished.report.name}")
    if finished.failed:
        hint = "the report lists them; a machine that is busy may be too slow for them: try again when it is not"
        raise PartialFailure(f"{finished.failed} of the lines got no answer; the rest are compared", hint=hint)
