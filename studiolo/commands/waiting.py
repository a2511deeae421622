"""What a job waits for before it says its first word, shown while somebody waits with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from jobs import records
from jobs.folders import attempt_folder
from jobs.preparation import MADE
from workspace.home import Workspace

SOON = 1.0  # seconds that nobody minds
OFTEN = 0.5  # seconds between looks
_STARTED = ("Running", "Finalizing", "Completed", "Failed", "Canceled")


@contextmanager
def waiting(workspace: Workspace, name: str) -> Iterator[Callable[[], None]]:
    """Show on stderr what a job waits for, where that takes longer than a moment; give a function that ends it."""
    begun = threading.Event()
    watch = threading.Thread(target=_watch, args=(workspace, name, begun), daemon=True)
    watch.start()
    try:
        yield begun.set
    finally:
        begun.set()
        watch.join()


def _watch(workspace: Workspace, name: str, begun: threading.Event) -> None:
    told = ""
    pause = SOON
    while not begun.wait(pause):
        pause = OFTEN
        job = records.get(workspace, name)
        if job.status in _STARTED:
            return
        making = attempt_folder(workspace.home, job.name, job.attempt).path / MADE
        words = f"{job.status}: {_last(making)}" if making.exists() else job.status
        if words != told:
            typer.echo(words, err=True)
        told = words


def _last(path: Path) -> str:
    """Return what was last said about the making of an environment."""
    for line in reversed(path.read_text("utf-8", "replace").splitlines()):
        if line.startswith('{"text"'):
            return str(json.loads(line)["text"])
    return "its environment"
