"""The files that an MLTable names, and the file itself."""

from __future__ import annotations

import glob
import importlib
import json
import os
from typing import Any


def files(paths: Any, folder: str) -> list[str]:
    found: list[str] = []
    for each in paths:
        ((kind, written),) = each.items()
        place = os.path.join(folder, local(str(written)))
        if kind == "file":
            if not os.path.isfile(place):
                raise ValueError("there is no file " + place)
            found.append(place)
        elif kind == "folder":
            found += sorted(path for path in glob.glob(os.path.join(glob.escape(place), "**"), recursive=True)
                            if os.path.isfile(path))  # fmt: skip
        elif kind == "pattern":
            matching = sorted(path for path in glob.glob(place, recursive=True) if os.path.isfile(path))
            if not matching:
                raise ValueError("no file fits " + place)
            found += matching
        else:
            raise ValueError(f"a path is a file, a folder or a pattern, not {kind!r}")
    return [os.path.normpath(path) for path in found]


def local(written: str) -> str:
    if written.startswith("file://"):
        return written[7:]
    if "://" in written or written.startswith("azureml:"):
        raise ValueError(written + " is not on this machine: make the table an input of the job, and it is laid beside")
    return written


def parsed(text: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        try:
            return json.loads(text)
        except ValueError:
            raise ImportError("MLTable files are read with PyYAML: pip install pyyaml") from None
    return yaml.safe_load(text)
