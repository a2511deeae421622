"""Making an environment: by the asked Python, else by a neighbour, else of newer packages; and that is said."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from jobs.environments import compiled, pythons, steps, store, uv
from jobs.environments.events import Preparing
from jobs.environments.pythons import Minor
from jobs.environments.spec import Spec, name_of
from jobs.environments.steps import Step
from jobs.environments.uv import CannotBe
from workspace.errors import Invalid, StudioloError, Unavailable

NEIGHBOURS = 4  # Pythons that are tried beside the first
A_WHILE, FOREVER = 90.0, math.inf  # seconds of building packages
# Commands call pip, and old packages ask for what Pythons of their time came with.
_USUAL = ("pip", "setuptools<81", "wheel")
_LOWEST = re.compile(r"(?:===?|~=|>=)\s*([0-9][^,\s;*]*)")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Made:
    """The Python that was taken, and what a person should know."""

    minor: Minor
    missing: bool  # whether the asked Python is not to be had
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Attempt:
    minor: Minor
    python: Path
    build: float = 0  # seconds that packages without a wheel may be built
    newer: bool = False  # whether newer packages may stand for the asked ones


def realise(spec: Spec, folder: Path, environ: Mapping[str, str]) -> Generator[Step, None, Made]:
    """Make the environment in `folder`, or raise Invalid with the first reason why it cannot be."""
    exact = pythons.exactly(spec.python)
    if exact and exact not in pythons.found(environ):
        yield from _fetch(exact, folder.parent, environ)
    known = pythons.found(environ)
    order = pythons.nearest(spec.python, known)
    refused: CannotBe | None = None
    for attempt in _attempts(spec, order, known):
        try:
            newer = yield from _try(spec, attempt, folder, environ)
        except CannotBe as problem:
            refused = refused or problem
            yield Preparing(f"not on Python {pythons.text(attempt.minor)}: {problem.reason}")
            if problem.nowhere:
                break
        else:
            missing = exact is not None and exact not in known
            return Made(attempt.minor, missing, (*_said_of_python(spec, attempt.minor, missing, refused), *newer))
    tried = ", ".join(pythons.text(minor) for minor in order[: NEIGHBOURS + 1])
    reason = refused.reason if refused else "there is no Python"
    if refused and refused.nowhere:
        raise Invalid(f"the environment cannot be made: {reason}", hint="check names and versions")
    raise Invalid(f"no Python here can have these packages: {reason}", hint=f"tried Python {tried}")


def _attempts(spec: Spec, order: list[Minor], known: Mapping[Minor, Path]) -> Iterator[_Attempt]:
    """What is tried, the quicker first among what is nearly as good: compiling old packages takes ten minutes each."""
    places = [(minor, known[minor]) for minor in order[: NEIGHBOURS + 1]]
    if any(_requirement(line) is None or " @ " in line for line in spec.all_packages):
        yield from (_Attempt(*place, build=FOREVER) for place in places)  # a folder or a repository is always built
        return
    as_asked = pythons.fits(spec.python, order[0]) and spec.python != ""
    yield _Attempt(*places[0])
    if as_asked:
        yield _Attempt(*places[0], build=A_WHILE)
    yield from (_Attempt(*place) for place in places[1:])
    if not as_asked:
        yield _Attempt(*places[0], build=A_WHILE)
    yield from (_Attempt(*place, newer=True) for place in places)
    yield _Attempt(*places[0], build=FOREVER)


def _try(
    spec: Spec, attempt: _Attempt, folder: Path, environ: Mapping[str, str]
) -> Generator[Step, None, tuple[str, ...]]:
    shutil.rmtree(folder, ignore_errors=True)
    switches = ("--quiet", "--relocatable", "--no-python-downloads")
    command = ["venv", *switches, "--python", str(attempt.python), str(folder)]
    yield from uv.run(command, environ=environ, folder=folder.parent)
    wanted = (yield from _newer(spec, folder, environ)) if attempt.newer else spec
    gave_way = yield from _install_all(wanted, attempt, folder, environ)
    older = yield from _install_older_numpy(wanted, attempt, folder, environ)
    yield from _compile(folder, environ)
    said = yield from _install_usual(spec, folder, environ)
    return (*(_replaced(spec, folder, attempt.minor) if attempt.newer else gave_way), *older, *said)


def _install_all(
    spec: Spec, attempt: _Attempt, folder: Path, environ: Mapping[str, str]
) -> Generator[Step, None, tuple[str, ...]]:
    """Install all at once; where conda's and pip's packages contradict each other, pip's come last, as in conda."""
    try:
        yield from _install(spec, spec.all_packages, attempt, folder, environ)
    except CannotBe as problem:
        if not (spec.before and spec.packages) or problem.nowhere:
            raise
        yield from _install(spec, spec.before, attempt, folder, environ)
        yield from _install(spec, spec.packages, attempt, folder, environ)
        return _gave_way(spec, folder)
    return ()


def _install_older_numpy(
    spec: Spec, attempt: _Attempt, folder: Path, environ: Mapping[str, str]
) -> Generator[Step, None, tuple[str, ...]]:
    """Have numpy 1 where packages were compiled for it and nobody asks for more."""
    old = compiled.for_numpy_1(folder)
    if not old:
        return ()
    why = f"{', '.join(old)}: compiled for numpy 1"
    try:
        yield from _install(spec, (*spec.all_packages, compiled.OLDER), attempt, folder, environ)
    except CannotBe as problem:
        return (f"{why}, and numpy 2 is used, so that importing may fail: {problem.reason}",)
    return (f"{why}, which is used",)


def _install(
    spec: Spec, lines: tuple[str, ...], attempt: _Attempt, folder: Path, environ: Mapping[str, str]
) -> Iterator[Step]:
    if not lines:
        return
    listed = _listed(folder, "requirements.txt", (*_options(spec), *lines))
    command = ["pip", "install", "--python", str(store.python_of(folder)), *_switches(spec)]
    command += [] if attempt.build else ["--no-build"]
    running = uv.run([*command, "--requirement", str(listed)], environ=environ, folder=folder)
    yield from _bounded(running, attempt.build or FOREVER)


def _bounded(running: Generator[Step, None, None], seconds: float) -> Iterator[Step]:
    """The steps, ended where packages are built for longer than this."""
    since, what = 0.0, ""
    with closing(running):  # whoever is told of a refusal keeps its frames, and with them what still runs
        for step in running:
            text = step.text.strip() if isinstance(step, Preparing) else ""
            if text.startswith("Building "):
                since, what = since or time.monotonic(), text.removeprefix("Building ")
            if since and time.monotonic() - since > seconds:
                raise CannotBe(f"{what} has no wheel, and building it takes longer than {seconds:.0f} seconds")
            yield step


def _compile(folder: Path, environ: Mapping[str, str]) -> Generator[Step, None, None]:
    """Compile what is imported again and again, once; files of other Pythons among it do no harm."""
    packages = [str(path) for path in folder.glob("lib/python*/site-packages")]
    yield Preparing("compiling")
    command = [str(store.python_of(folder)), "-m", "compileall", "-q", "-j", "0", *packages]
    yield from (step for step in steps.run(command, environ=environ, folder=folder) if not isinstance(step, Preparing))


def _install_usual(spec: Spec, folder: Path, environ: Mapping[str, str]) -> Generator[Step, None, tuple[str, ...]]:
    there = _versions(folder)
    usual = [line for line in _USUAL if name_of(line) not in there]
    if not usual or "--no-index" in spec.options:
        return ()
    listed = _listed(folder, "usual.txt", (*_options(spec), *usual))
    command = ["pip", "install", "--python", str(store.python_of(folder)), *_switches(spec)]
    try:
        yield from uv.run([*command, "--requirement", str(listed)], environ=environ, folder=folder)
    except Unavailable as problem:
        # Without a network a bare Python is still a Python: most bring a pip of their own.
        own = [str(store.python_of(folder)), "-m", "ensurepip", "--default-pip"]
        ended = yield from steps.run(own, environ=environ, folder=folder)
        if ended.code:
            raise
        return (f"{problem}; pip is the one that Python brings",)
    return ()


def _listed(folder: Path, name: str, lines: Iterable[str]) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _newer(spec: Spec, folder: Path, environ: Mapping[str, str]) -> Generator[Step, None, Spec]:
    """The asked versions, or the nearest after them that have a wheel for this Python."""
    floors = {name_of(line): floor for line in spec.all_packages if (floor := _floor(line))}
    if not floors:
        raise CannotBe("there is no version to go up from")
    listed, pins = _listed(folder, "floors.txt", (*_options(spec), *floors.values())), folder / "pins.txt"
    command = [
        "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-build", "--resolution", "lowest-direct",
        "--python", str(store.python_of(folder)), "--output-file", str(pins), *_switches(spec), str(listed),
    ]  # fmt: skip
    yield from uv.run(command, environ=environ, folder=folder)
    found = {str(canonicalize_name(name)): version for name, version in _PINNED.findall(pins.read_text("utf-8"))}

    def at(line: str) -> str:
        name, asked = name_of(line), _requirement(line)
        if name not in floors or name not in found or asked is None:
            return line
        extras = f"[{','.join(sorted(asked.extras))}]" if asked.extras else ""
        return f"{asked.name}{extras}=={found[name]}"

    return replace(spec, before=tuple(map(at, spec.before)), packages=tuple(map(at, spec.packages)))


def _floor(line: str) -> str:
    asked = _requirement(line)
    lowest = _LOWEST.search(str(asked.specifier)) if asked and not asked.url else None
    if asked is None or lowest is None:
        return ""
    extras = f"[{','.join(sorted(asked.extras))}]" if asked.extras else ""
    return f"{asked.name}{extras}>={lowest[1].rstrip('.')}" + (f" ; {asked.marker}" if asked.marker else "")


def _fetch(minor: Minor, folder: Path, environ: Mapping[str, str]) -> Iterator[Step]:
    """Let uv fetch a Python; where it cannot, a neighbour serves, and that is said."""
    if environ.get("UV_PYTHON_DOWNLOADS", "").lower() in ("never", "manual") or environ.get("UV_OFFLINE"):
        return
    version = pythons.text(minor)
    yield Preparing(f"fetching Python {version}")
    try:
        # One try: the neighbour that serves instead is better than a minute of waiting.
        yield from uv.run(
            ["python", "install", "--no-bin", version], environ={**environ, "UV_HTTP_RETRIES": "0"}, folder=folder
        )
    except (CannotBe, StudioloError) as problem:
        yield Preparing(f"Python {version} cannot be fetched: {problem}")


def _options(spec: Spec) -> Iterator[str]:
    return (line for line in spec.options if line != "--pre")


def _switches(spec: Spec) -> list[str]:
    """pip looks at all indexes and takes the best; files that name a second one are written for that."""
    several = any(line.startswith("--extra-index-url") for line in spec.options)
    return [
        *(["--index-strategy", "unsafe-best-match"] if several else []),
        *(["--prerelease", "allow"] if "--pre" in spec.options else []),
    ]


def _said_of_python(spec: Spec, minor: Minor, missing: bool, refused: CannotBe | None) -> tuple[str, ...]:
    taken, asked = pythons.text(minor), spec.python or pythons.text(pythons.OWN)
    if missing:
        return (f"Python {asked} is asked for and cannot be had on this machine: Python {taken} is used",)
    if pythons.fits(asked, minor):
        return ()
    return (f"Python {taken} is used instead of {asked}: {refused.reason if refused else 'it is the nearest'}",)


def _versions(folder: Path) -> dict[str, str]:
    pairs = (line.split("==", 1) for line in store.installed(folder))
    return {str(canonicalize_name(name)): version for name, version in pairs}


def _replaced(spec: Spec, folder: Path, minor: Minor) -> tuple[str, ...]:
    there = _versions(folder)
    return tuple(
        f"{line} cannot be had with the rest on Python {pythons.text(minor)}: {there[name]} is used"
        for line in spec.all_packages
        if (asked := _requirement(line)) and (name := name_of(line)) in there
        and not asked.specifier.contains(there[name], prereleases=True)
    )  # fmt: skip


def _gave_way(spec: Spec, folder: Path) -> tuple[str, ...]:
    there = _versions(folder)
    return tuple(
        f"conda's {line} gave way to {there[name]}, which pip's packages need"
        for line in spec.before
        if (asked := _requirement(line)) and (name := name_of(line)) in there
        and not asked.specifier.contains(there[name], prereleases=True)
    )  # fmt: skip


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line.split(" --")[0].strip())
    except InvalidRequirement:
        return None  # a file, a URL that names no package
