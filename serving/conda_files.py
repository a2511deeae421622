"""What a conda file or an MLflow model asks of Python: its version, and packages as pip names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.documents import read_yaml
from workspace.errors import Invalid, Location

# Where conda's name is not pip's; None: nothing that pip installs.
PIP_NAMES: Mapping[str, str | None] = {
    "pytorch": "torch", "py-xgboost": "xgboost", "xgboost": "xgboost", "pillow": "pillow", "opencv": "opencv-python",
    "pip": None, "setuptools": None, "wheel": None, "cudatoolkit": None, "cpuonly": None, "pytorch-cuda": None,
    "tensorflow-base": "tensorflow", "pyyaml": "pyyaml", "msgpack-python": "msgpack",
}  # fmt: skip
_CONDA = re.compile(r"(?:[\w-]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<version>[=<>!~].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A Python version ("3.10", or nothing) and packages in pip's words."""

    python: str = ""
    packages: tuple[str, ...] = ()


def read(path: Path) -> Requirements:
    """Read a conda file."""
    document = read_yaml(path)
    return requirements(document.root, at=document.at("dependencies"))


def requirements(conda: Any, *, at: Location | None = None) -> Requirements:
    """Return what the content of a conda file asks for.

    >>> requirements({"dependencies": ["python=3.10", "numpy=1.26", {"pip": ["mlflow>=3"]}]})
    Requirements(python='3.10', packages=('numpy==1.26', 'mlflow>=3'))
    """
    listed = conda.get("dependencies", []) if isinstance(conda, dict) else None
    if not isinstance(listed, list):
        raise Invalid("a conda file lists `dependencies`", at=at)
    python, packages = "", []
    for each in listed:
        if isinstance(each, dict) and isinstance(each.get("pip"), list):
            packages += [str(line).strip() for line in each["pip"]]
            continue
        match = _CONDA.fullmatch(str(each).strip())
        if match is None:
            raise Invalid(f"{each!r} is no conda package", at=at)
        name, version = match["name"].lower(), (match["version"] or "").strip()
        if name == "python":
            python = ".".join(re.findall(r"\d+", version)[:2])
        elif (pip := PIP_NAMES.get(name, name)) is not None:
            packages.append(pip + _pip_version(version))
    return Requirements(python=python, packages=tuple(packages))


def of_mlflow(folder: Path) -> Requirements:
    """Return what a model logged by MLflow asks for, from its requirements.txt and its python_env.yaml."""
    lines: list[str] = []
    if (folder / "requirements.txt").is_file():
        lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    python = ""
    if (folder / "python_env.yaml").is_file():
        root = read_yaml(folder / "python_env.yaml").root
        python = ".".join(str(root.get("python", "")).split(".")[:2]) if isinstance(root, dict) else ""
    return Requirements(python=python, packages=packages)


def _pip_version(version: str) -> str:
    if not version or version[0] in "<>!~" or version.startswith("=="):
        return version
    number = version.lstrip("=").split("=")[0]  # what follows is conda's build
    return f"=={number}" if number and number != "*" else ""
