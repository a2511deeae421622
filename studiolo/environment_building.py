"""Making an environment before a job needs it: one that is kept, a curated one, or that of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.environments import Prepared, Preparing, Waiting, prepare
from workspace.errors import Invalid
from workspace.settings import cache_folder

if TYPE_CHECKING:
    from jobs.files.environment import Environment
    from workspace.home import Workspace


def wanted(workspace: Workspace, *, file: Path | None, name: str, version: str) -> Environment:
    """Return what is to be made."""
    if file is not None:
        from jobs.files import read_environment

        return read_environment(file).environment()
    if not name:
        raise Invalid("name an environment, or a file", hint="studiolo environment build NAME, or -f environment.yml")
    from jobs.assets.environments import settled
    from jobs.files.references import Reference

    called, _, inside = name.removeprefix("azureml:").partition(":")
    return settled(workspace, Reference(name=called, version=version or inside or None))


def build(environment: Environment) -> Iterator[str | dict[str, Any]]:
    """Yield what happens in words, and at the end what was made: its Python, its folder, what a person should know."""
    for event in prepare(cache_folder(), environment):
        if isinstance(event, Prepared):
            yield {"python": str(event.python), "folder": str(event.folder), "said": list(event.said)}
        elif isinstance(event, Preparing):
            yield event.text
        elif isinstance(event, Waiting):
            yield f"at work ({event.seconds:.0f} s)"
