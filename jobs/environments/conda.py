"""Conda files told in pip's words: versions, names, what pip has nothing of, and what stands in for Azure's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jobs.environments import requirements
from jobs.environments.names import LIBRARIES_OF_PYTHON, MLFLOW, PIP_NAMES, PROGRAMS, STOOD_IN, WITHOUT_PACKAGE
from jobs.environments.spec import Spec, name_of
from workspace.errors import Invalid, Location

OTHER_LANGUAGE = "build an image that has it: `build: {path: FOLDER}`, with docker or podman on this machine"
_CONDA = re.compile(
    r"(?:(?P<channel>[\w./-]+)::?)?(?P<name>[A-Za-z0-9_.-]+?)\s*"
    r"(?:\s(?P<spaced>[\d*][^\s]*)(?:\s+\S+)?|(?P<version>[=<>!~].*))?"
)
_NUMBERS = re.compile(r"\d+(\.\d+)*")


def spec(conda: Mapping[str, Any], folder: Path, *, at: Location | None = None) -> Spec:
    """Return what a conda file asks for.

    >>> spec({"dependencies": ["python=3.10", "numpy=1.26", {"pip": ["mlflow>=3"]}]}, Path()).all_packages
    ('numpy==1.26.*', 'mlflow>=3')
    """
    listed = conda.get("dependencies") or []
    if not isinstance(listed, list):
        raise Invalid("a conda file lists `dependencies`", at=at)
    python, before, programs = "", list[str](), list[str]()
    for each in listed:
        if isinstance(each, dict):
            continue
        name, version = _read(str(each), at)
        if name == "python":
            python = python_version(version)
        elif name == "openjdk":
            before.append("openjdk")  # a Java is looked for once all packages are known
        elif name in PROGRAMS:
            programs.append(name)
        elif pip := _pip_name(name, at):
            before.append(pip + _pip_version(version))
    packages, options = requirements.read(_pip_lines(listed, at), folder, at=at)
    said = [f"{', '.join(programs)}: not Python, used where this machine has them"] if programs else []
    return without_azure(Spec(
        python=python, before=tuple(before), packages=tuple(packages), options=tuple(options),
        said=tuple(said),
    ))  # fmt: skip


def without_azure(asked: Spec) -> Spec:
    """Return the packages with what stands in for Azure's own in their place."""
    before, packages = _without(asked.before, asked.all_packages), _without(asked.packages, asked.all_packages)
    gone = sorted({name for line in asked.all_packages if (name := name_of(line)) in STOOD_IN})
    said = (f"{', '.join(gone)}: Studiolo's own stand in for them",) if gone else ()
    return Spec(python=asked.python, before=before, packages=packages, options=asked.options, said=(*asked.said, *said))


def python_version(version: str) -> str:
    """Return a version of Python as it is looked for: `python_version("=3.8.12") == "3.8"`, a range as it is."""
    text = version.strip()
    if text[:1] in "<>!~" or "," in text:
        return text.replace(" ", "")
    numbers = [int(number) for number in re.findall(r"\d+", text)][:2]
    if len(numbers) == 1:
        return f">={numbers[0]},<{numbers[0] + 1}"
    return ".".join(map(str, numbers))


def _read(written: str, at: Location | None) -> tuple[str, str]:
    match = _CONDA.fullmatch(written.split(" #")[0].strip())
    if match is None:
        raise Invalid(f"{written!r} is no conda package", hint="write it as numpy=1.26", at=at)
    return match["name"].lower(), (match["version"] or match["spaced"] or "").strip()


def _pip_name(name: str, at: Location | None) -> str:
    if name == "r" or name.startswith("r-"):
        raise Invalid(f"the environment is one of R ({name}), which cannot be had here", hint=OTHER_LANGUAGE, at=at)
    if name == "julia":
        raise Invalid("the environment is one of Julia, which cannot be had here", hint=OTHER_LANGUAGE, at=at)
    if name in WITHOUT_PACKAGE or name.startswith("_") or (name.startswith("lib") and name not in LIBRARIES_OF_PYTHON):
        return ""
    return PIP_NAMES.get(name, name)


def _pip_version(version: str) -> str:
    """Conda's `=1.26` is any 1.26, its `==1.26` that one alone, and `=1.26.4=py310_0` names a build of 1.26.4."""
    if not version:
        return ""
    if version[0] in "<>!~" or "," in version:
        return version.split("|")[-1].replace(" ", "")
    exact = version.startswith("==") or version.lstrip("=").count("=") == 1
    number = version.lstrip("=").split("=")[0].split("|")[-1].strip()
    if not number or number == "*":
        return ""
    if number.endswith("*"):
        return f"=={number.rstrip('.*')}.*"
    return f"=={number}" if exact or not _NUMBERS.fullmatch(number) else f"=={number}.*"


def _pip_lines(listed: Iterable[Any], at: Location | None) -> list[str]:
    lines: list[str] = []
    for each in listed:
        if isinstance(each, dict):
            if set(each) != {"pip"} or not isinstance(each["pip"] or [], list):
                raise Invalid("beside packages, `dependencies` may hold a list under `pip`", at=at)
            lines += [str(line).strip() for line in each["pip"] or []]
    return lines


def _without(lines: Iterable[str], everything: Iterable[str]) -> tuple[str, ...]:
    named = {name_of(line) for line in everything}
    kept: list[str] = []
    for line in lines:
        for added in STOOD_IN.get(name_of(line), (line,)):
            new = added is not line
            if new and (name_of(added) in named or (name_of(added) in MLFLOW and named & MLFLOW)):
                continue
            if added not in kept:
                kept.append(added)
    return tuple(kept)
