"""What a model or a script asks for, and the Python that has it: this one where it does, else one made for it.

How they are made and kept: `jobs/environments`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from jobs.environments import Event, Prepared, conda, pythons, requirements
from jobs.environments.prepare import find_packages, prepare_packages
from jobs.environments.spec import Spec
from workspace.documents import read_yaml
from workspace.settings import cache_folder


def of_conda_file(path: Path) -> Spec:
    """Return what a conda file asks for."""
    document = read_yaml(path)
    root = document.root if isinstance(document.root, dict) else {"dependencies": document.root}
    return conda.spec(root, path.parent, at=document.at("dependencies"))


def of_mlflow(folder: Path) -> Spec:
    """Return what a model logged by MLflow asks for, from its requirements.txt and its python_env.yaml."""
    lines: Iterable[str] = ()
    if (folder / "requirements.txt").is_file():
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages, options = requirements.read(lines, folder)
    python = ""
    if (folder / "python_env.yaml").is_file():
        root = read_yaml(folder / "python_env.yaml").root
        python = conda.python_version(str(root.get("python", ""))) if isinstance(root, dict) else ""
    return conda.without_azure(Spec(python=python, packages=tuple(packages), options=tuple(options)))


def of_kept(kept: Mapping[str, Any]) -> Spec:
    """Return what a deployment has kept of a Spec, which is JSON."""
    lists = {name: tuple(kept.get(name, ())) for name in ("before", "packages", "options", "said")}
    return Spec(python=str(kept.get("python", "")), **lists)


def unsatisfied(asked: Spec) -> list[str]:
    """Return what this Python lacks of the packages: none means that it can be used.

    >>> unsatisfied(Spec(packages=("packaging>=1", "no-such-package")))
    ['no-such-package']
    """
    found = [] if pythons.fits(asked.python, pythons.OWN) else [f"python {asked.python}"]
    return found + [line for line in asked.all_packages if not _has(line)]


def find(asked: Spec) -> Path | None:
    """Return the Python that has them, or None where an environment is still to be made."""
    if not unsatisfied(asked):
        return Path(sys.executable)
    made = find_packages(cache_folder(), asked)
    return made.python if made else None


def prepare(asked: Spec) -> Iterator[Event]:
    """Find or make the environment; the last event is Prepared."""
    if not unsatisfied(asked):
        yield Prepared(python=Path(sys.executable), folder=Path(sys.prefix))
    else:
        yield from prepare_packages(cache_folder(), asked)


def _has(line: str) -> bool:
    try:
        asked = Requirement(line.split(" --")[0].split(" #")[0])
    except InvalidRequirement:
        return False  # a file, a URL, an option of pip
    if asked.marker is not None and not asked.marker.evaluate():
        return True
    try:
        return asked.specifier.contains(metadata.version(_installed_as(asked.name)), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _installed_as(name: str) -> str:
    # A build for CPUs alone is the same package under another name.
    if canonicalize_name(name) == "xgboost":
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            return "xgboost-cpu"
    return name
