"""Stand-ins: modules that a job's Python finds where the packages of Azure ML that have them are not installed.

They go last on the import path, so that a real package is always before them, also one that the job installs itself.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.util
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from workspace.paths import writing

SHIMS = Path(__file__).with_name("shims")
FOLDER = "stand-ins"
PTH = "zz_studiolo_stand_ins.pth"  # read after every other file of its kind: what it adds comes last
# Where a module lies, and what is in it: the text of a file of ours, or lines.
_NAMES = "Dataset, Experiment, Model, Run, Workspace"
_CORE = f"from azureml_core_stand_in import {_NAMES}\n"
_FILES = {
    **{f"mltable/{name}.py": f"mltable/{name}.py" for name in ("__init__", "conditions", "paths", "reading")},
    "azureml_core_stand_in.py": "azureml_core.py",
    "azureml_mlflow_stand_in.py": "azureml_mlflow.py",
    "at_start/sitecustomize.py": "at_start.py",
}
_LINES = {
    **{f"azureml/core/{name}.py": _CORE for name in ("__init__", "run", "model", "experiment", "workspace", "dataset")},
    "azureml_mlflow-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: azureml-mlflow\nVersion: 1.0\n",
    "azureml_mlflow-1.0.dist-info/entry_points.txt": (
        "[mlflow.tracking_store]\nazureml = azureml_mlflow_stand_in:tracking\n"
        "[mlflow.model_registry_store]\nazureml = azureml_mlflow_stand_in:registry\n"
    ),
}
_MARKS = {"mltable": "mltable", "azureml": "azureml", "azureml_mlflow-1.0.dist-info": "azureml"}


def folder_of(cache: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Return the folder of the modules, without those whose real package is there; it is made once a machine."""
    contents = {
        target: text for target, text in _contents().items() if _MARKS.get(target.partition("/")[0]) not in without
    }
    digest = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:16]
    place = cache / FOLDER / digest
    if not place.exists():
        _make(place, contents)
    return place


def put_last(cache: Path, layer: Path) -> None:
    """Have the Python of a job's layer look for the modules, last of all."""
    place = folder_of(cache)
    for packages in layer.glob("lib/python*/site-packages"):
        (packages / PTH).write_text(f"{place}\n")


def for_own_python(cache: Path) -> dict[str, str]:
    """Return the variables by which a job that runs in our own Python finds the modules."""
    there = tuple(name for name in ("mltable", "azureml") if importlib.util.find_spec(name) is not None)
    return {"PYTHONPATH": str(folder_of(cache, without=there))}


def in_container(cache: Path, command: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the folder that a container has to be shown, and the command with which its Python finds the modules.

    The image may have an import path of its own, which only a shell inside of it knows.
    """
    place = folder_of(cache)
    told = f'export PYTHONPATH={shlex.quote(str(place / "at_start"))}"${{PYTHONPATH:+:$PYTHONPATH}}"; exec "$@"'
    return place, ["bash", "-c", told, "bash", *command]


@functools.cache
def _contents() -> dict[str, str]:
    return {target: (SHIMS / source).read_text() for target, source in _FILES.items()} | _LINES


def _make(place: Path, contents: Mapping[str, str]) -> None:
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole = Path(tempfile.mkdtemp(dir=place.parent, prefix=".made-"))
        try:
            for target, text in contents.items():
                path = whole / target
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(text)
            try:
                whole.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # somebody else was faster: it is the same
                    raise
        finally:
            shutil.rmtree(whole, ignore_errors=True)
