"""A run over rows as a person watches it: a bar with rate and time left, or two lines where nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import typer

import flows

if TYPE_CHECKING:
    from rich.progress import Progress


class _Watcher(Protocol):
    def started(self, name: str, total: int | None, kept: int) -> None:
        """The run exists."""

    def line(self, name: str, *, failed: bool) -> None:
        """One more line has ended."""


def follow(events: Iterable[flows.Started | flows.LineDone | flows.Finished]) -> flows.Finished:
    """Show a run while it runs; return how it ended. Who interrupts it is told how to go on."""
    name = ""
    try:
        with _bar() if sys.stderr.isatty() else _plain() as watcher:
            for event in events:
                if isinstance(event, flows.LineDone):
                    watcher.line(name, failed=event.status == "Failed")
                elif isinstance(event, flows.Started):
                    name = event.name
                    watcher.started(name, event.total, event.kept)
                    _point_out(event.passed_over)
                else:
                    finished = event
    except KeyboardInterrupt:
        if name:
            print(f"interrupted: what has ended is kept\nhint: studiolo flow resume {name}", file=sys.stderr)
        raise
    return finished


def _point_out(passed_over: Iterable[str]) -> None:
    for each in passed_over:
        said = f"the data has a column {each!r}, but the input keeps its default"
        typer.secho(f"note: {said}; to map it: {each}='${{data.{each}}}'", fg="yellow", err=True)


class _Lines:
    """Says little: for logs."""

    def __init__(self) -> None:
        self._count = self._failed = 0
        self._since = time.monotonic()

    def started(self, name: str, total: int | None, kept: int) -> None:
        lines = "lines" if total is None else f"{total} lines"
        print(f"{name}: {lines}{f', {kept} of them done before' if kept else ''}", file=sys.stderr)

    def line(self, name: str, *, failed: bool) -> None:
        del name
        self._count += 1
        self._failed += failed

    def end(self) -> None:
        if self._count:
            seconds = time.monotonic() - self._since
            rate = f"{self._count / max(seconds, 1e-9):,.0f} lines/s"
            print(f"{self._count} lines in {seconds:.1f} s ({rate}), {self._failed} failed", file=sys.stderr)


@contextmanager
def _plain() -> Iterator[_Watcher]:
    lines = _Lines()
    try:
        yield lines
    finally:
        lines.end()


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)
        self._failed = 0

    def started(self, name: str, total: int | None, kept: int) -> None:
        self._progress.update(self._task, description=name, total=total, completed=kept)

    def line(self, name: str, *, failed: bool) -> None:
        self._failed += failed
        description = f"{name}, {self._failed} failed" if self._failed else name
        self._progress.update(self._task, advance=1, description=description)


@contextmanager
def _bar() -> Iterator[_Watcher]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TaskProgressColumn(text_format="", show_speed=True),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        yield _Bar(progress)
