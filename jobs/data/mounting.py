"""Data laid out where a person wants to look at it: a copy that cannot be written to by mistake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.data import places
from jobs.files.references import target
from workspace.blobs import files_of
from workspace.errors import Conflict
from workspace.paths import writing

if TYPE_CHECKING:
    from workspace.home import Workspace


def lay_out(workspace: Workspace, path: str, folder: Path) -> Path:
    """Copy what a path names into a folder, which must be empty or not there, and return the folder.

    What is elsewhere is fetched first: `lay_out(workspace, "azureml:rows:1", Path("rows"))`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{str(folder)!r} is not empty", hint="name another --mount-point, or remove it")
    found = places.find(workspace, target(path, Path.cwd()))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(found, folder / found.name)
        for each in files_of(folder):
            each.chmod(0o444)
    return folder
