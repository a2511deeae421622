"""Importing one file of a flow, as it is now, and saying where it went wrong."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


class _Fresh(importlib.machinery.SourceFileLoader):
    """Compiles anew each time: Python's own cache cannot tell an edit within a second from none, nor is it ours to
    leave in somebody's folder.
    """

    def path_stats(self, path: Any) -> Any:
        raise OSError(f"{path} is not looked up in a cache")


def load(path: Path, name: str) -> ModuleType:
    """Import a Python file as the module `name`; raises what its code raises, ValueError where it is no Python file."""
    if path.suffix != ".py":
        raise ValueError(f"{path.name} is no Python file")
    spec = importlib.util.spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    assert spec is not None  # noqa: S101 - a loader was given
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def place(problem: BaseException, folder: Path) -> str:
    """Return where in the folder's files something went wrong, "…/count.py:3", or nothing where that was elsewhere."""
    if isinstance(problem, SyntaxError) and problem.filename and problem.lineno:
        return f"{problem.filename}:{problem.lineno}"
    frames = traceback.extract_tb(problem.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return f"{inside[-1].filename}:{inside[-1].lineno}" if inside else ""
