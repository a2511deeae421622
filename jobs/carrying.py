"""What an attempt takes over from those before it where its job goes on rather than begins anew: a parallel step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from jobs.folders import AttemptFolder
from workspace.paths import writing


def carry(folder: AttemptFolder) -> None:
    """Have what earlier attempts have finished, and what they wrote, in the folder of this one too.

    What is finished comes last and at once: where it is, all is.
    """
    before = _before(folder)
    if before is None:
        return
    with writing(folder.path):
        if before.outputs.is_dir():
            _linked(before.outputs, folder.outputs)
        partial = folder.finished.with_name(f"{folder.finished.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        _linked(before.finished, partial)
        partial.rename(folder.finished)


def _before(folder: AttemptFolder) -> AttemptFolder | None:
    for number in range(int(folder.path.name) - 1, 0, -1):
        earlier = AttemptFolder(folder.path.with_name(str(number)))
        if earlier.finished.is_dir():
            return earlier
    return None


def _linked(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link, symlinks=True, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many names
        shutil.copyfile(source, target)
