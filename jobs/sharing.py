"""What one job has left becomes what another leaves: its bytes are shared where the file system can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from workspace.paths import writing


def share(source: Path, target: Path) -> None:
    """Have a file or folder at a second place too, in the stead of the files that are there."""
    with writing(target):
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)
            return
        if target.is_dir():
            target.rmdir()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    place = Path(target)
    place.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many names
        shutil.copyfile(source, target)
