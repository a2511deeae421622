"""`studiolo eval run`: a task is run against whoever answers, with progress on standard error."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studiolo.arguments import pairs
from workspace.errors import Invalid, PartialFailure

if TYPE_CHECKING:
    from evals import runner

INTERRUPTED = 130
_EVERY = 0.2  # seconds between two lines of progress


def run_command(
    task: Annotated[str | None, typer.Argument(help="A task: FILE.yaml, FILE.py or FILE.py:NAME.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "--model", help="Who answers: a model's name, http://…/v1#model, flow:DIR, function:…, run:…"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value …, over the task's: generate.temperature=0.5")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Ask each row so often.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Questions at once.")] = None,
    seed: Annotated[int | None, typer.Option(help="Sent with each request; a repeat adds its number.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for the run.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this run.")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="With --resume: ask its errors again.")] = False,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Use answers that were kept.")] = True,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="A .html or .json file; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of words.")] = False,
) -> None:
    """Run a TASK: ask every row, score every answer, say what that shows and how sure it is."""
    from studiolo import evaluating, open_workspace

    _check_outputs(output or [])
    wanted = evaluating.Wanted(
        task=task, changes=_values(set_), target=target, limit=limit, epochs=epochs, concurrency=concurrency,
        seed=seed, name=name, resume=resume, retry_errors=retry_errors, cache=cache,
    )  # fmt: skip
    with open_workspace() as workspace:
        finished = _follow(evaluating.run(workspace, wanted), quiet=as_json)
        record = workspace.runs.get(finished.run_id)
        _write(record, output or [])
        _print(finished, record, as_json=as_json)
    if finished.reason is not None:
        again = " --retry-errors" if finished.errors else ""
        typer.echo(f"paused: {finished.reason}\ngo on: studiolo eval run --resume {finished.name}{again}", err=True)
        raise typer.Exit(INTERRUPTED if finished.reason == "interrupted" else 1)
    if finished.errors:
        hint = f"studiolo eval run --resume {finished.name} --retry-errors"
        raise _Errors(
            f"{finished.errors} of {finished.samples} samples have errors, which count for nothing", hint=hint
        )


class _Errors(PartialFailure):
    """Some samples have errors: the run is kept, and its numbers are of the others."""

    exit_code = 1


def _values(given: list[str] | None) -> dict[str, Any]:
    from workspace.documents import parse_yaml

    return {key: parse_yaml(value).root for key, value in pairs(given, example="generate.temperature=0.5").items()}


def _follow(events: Any, *, quiet: bool) -> runner.Finished:
    from evals import runner

    shown = not quiet and sys.stderr.isatty()
    progress: _Progress | None = None
    for event in events:
        if isinstance(event, runner.Started):
            progress = _Progress(event.total, event.known)
            if event.known and not quiet:
                typer.echo(f"{event.known} of {event.total} samples are known from before", err=True)
        elif isinstance(event, runner.Scored):
            if progress is not None and shown:
                progress.show(event.samples)
        elif isinstance(event, runner.Finished):
            if shown:
                typer.echo("\r\x1b[K", nl=False, err=True)
            return event
    raise Invalid("the run did not end")


class _Progress:
    """How far a run is, and what its first metric seems to be, with the interval so far."""

    def __init__(self, total: int, known: int) -> None:
        self._total, self._done, self._errors = total, known, 0
        self._values: list[float] = []
        self._began = time.monotonic()
        self._shown = 0.0
        self._metric = ""

    def show(self, samples: Any) -> None:
        """Count samples, and print where it is time."""
        from evals.samples import is_error
        from evals.statistics.intervals import wilson

        self._done += len(samples)
        for sample in samples:
            self._errors += is_error(sample)
            for name, score in sample.scores.items():
                self._metric = self._metric or name
                if name == self._metric and score.value is not None:
                    self._values.append(score.value)
        if (now := time.monotonic()) - self._shown < _EVERY:
            return
        self._shown = now
        said = f"{self._done}/{self._total}"
        if n := len(self._values):
            mean = sum(self._values) / n
            near = wilson(mean * n, n)  # of grades too wide, if anything
            said += f"  {self._metric} {mean:.3f} ({near.low:.3f} to {near.high:.3f})"
        if self._errors:
            said += f"  {self._errors} errors"
        rate = len(self._values) / max(now - self._began, 1e-6)
        typer.echo(f"\r\x1b[K{said}  {rate:.0f}/s", nl=False, err=True)


def _check_outputs(paths: list[Path]) -> None:
    for path in paths:
        if path.suffix not in (".html", ".json"):
            raise Invalid(f"no report of one run ends in {path.suffix!r}: {str(path)!r}", hint="use .html or .json")


def _write(record: Any, paths: list[Path]) -> None:
    from evals import results
    from evals.reports import run_page
    from workspace.paths import write_atomically

    for path in paths:
        text = run_page.page(record) if path.suffix == ".html" else json.dumps(results.plain(record), indent=1) + "\n"
        write_atomically(path, text, mode=0o644)


def _print(finished: runner.Finished, record: Any, *, as_json: bool) -> None:
    from evals import results

    if as_json:
        typer.echo(json.dumps(results.plain(record)))
        return
    for line in results.words(finished.metrics):
        typer.echo(line)
    told = f"{finished.samples} samples in {finished.name}"
    typer.echo(f"{told}; look: studiolo eval show {finished.name}")
