"""Images, where an environment is one: built or fetched by docker or podman, whichever is there and answers."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.environments import steps
from jobs.environments.asked import Boxed
from jobs.environments.events import Container, Event, Prepared, Preparing
from jobs.environments.spec import digest
from jobs.files.environment import Build
from workspace.errors import Invalid, NotFound, Unavailable

PROGRAMS = ("docker", "podman")
PATIENCE = 20.0  # seconds for a question to docker or podman
TOLD = 5  # lines that explain a failed build
NAME = "localhost/studiolo/environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a command runs in a container. `mounts` are folders of this machine, and whether they may be written to."""

    command: Sequence[str]
    folder: Path
    name: str
    mounts: Mapping[Path, bool] = field(default_factory=dict)
    variables: Sequence[str] = ()  # by name: their values are handed on from the process that starts it
    options: Sequence[str] = ()  # of `docker run`, such as --gpus or --shm-size


def program(environ: Mapping[str, str]) -> Path | None:
    """Return docker or podman; None where neither answers: a client without its engine is none."""
    for name in PROGRAMS:
        found = shutil.which(name, path=environ.get("PATH", ""))
        if found and _answers([found, "info"], environ):
            return Path(found)
    return None


def find(boxed: Boxed, environ: Mapping[str, str]) -> Prepared | None:
    """Return the container of an environment, where its image is there."""
    image, with_what = _image(boxed), program(environ)
    if with_what is None:
        return None
    there = _answers([str(with_what), "image", "inspect", image], environ)
    return _prepared(boxed, with_what, image) if there else None


def prepare(boxed: Boxed, environ: Mapping[str, str]) -> Iterator[Event]:
    """Build or fetch the image; the last event is Prepared. Raises Unavailable where there is no docker or podman."""
    image, with_what = _image(boxed), program(environ)
    if with_what is None:
        raise _without_program(boxed)
    if not _answers([str(with_what), "image", "inspect", image], environ):
        if boxed.build:
            yield Preparing(f"building an image of {boxed.build.path}")
            recipe = str(boxed.build.path / boxed.build.dockerfile)
            yield from _run([str(with_what), "build", "--tag", image, "--file", recipe, str(boxed.build.path)], environ)
        else:
            yield Preparing(f"fetching image {image}")
            yield from _run([str(with_what), "pull", image], environ)
    yield _prepared(boxed, with_what, image)


def command(container: Container, run: Run) -> list[str]:
    """Return the command line that runs a command in the container, at the same paths as outside.

    Values of variables are not in it, since everybody can read command lines.
    """
    line = [str(container.program), "run", "--rm", "--name", run.name, "--network", "host"]
    if container.program.name == "docker":
        # podman's user is who started it, and its init is a package of its own.
        line += ["--init", *(["--user", f"{os.getuid()}:{os.getgid()}"] if os.getuid() else [])]
    for folder, writable in run.mounts.items():
        line += ["--volume", f"{folder}:{folder}{'' if writable else ':ro'}"]
    for name in run.variables:
        line += ["--env", name]
    return [*line, *run.options, "--workdir", str(run.folder), container.image, *run.command]


def end(container: Container, name: str, environ: Mapping[str, str]) -> None:
    """End a container that runs, whatever has become of the process that started it."""
    _answers([str(container.program), "kill", name], environ)


def _image(boxed: Boxed) -> str:
    if boxed.build is None:
        return boxed.image
    return f"{NAME}:{_digest(boxed.build)}"


def _digest(build: Build) -> str:
    if not build.path.is_dir():
        raise NotFound(f"no folder {str(build.path)!r} to build an image of", hint="paths start at the file")
    if not (build.path / build.dockerfile).is_file():
        raise NotFound(f"no {build.dockerfile!r} in {str(build.path)!r}", hint="name it by `dockerfile_path`")
    return hashlib.sha256(f"{build.dockerfile}\0{digest(build.path)}".encode()).hexdigest()[:20]


def _prepared(boxed: Boxed, with_what: Path, image: str) -> Prepared:
    folder = boxed.build.path if boxed.build else Path("/")
    said = f"the job runs in a container of {with_what.name}, image {image}"
    return Prepared(python=Path("python"), folder=folder, said=(said,), container=Container(with_what, image))


def _without_program(boxed: Boxed) -> Unavailable:
    if boxed.build:
        what = f"building an image of {str(boxed.build.path)!r} needs docker or podman, and neither answers here"
    else:
        what = f"image {boxed.image!r} is none that Studiolo knows, and no docker or podman answers here to run it"
    return Unavailable(what, hint="start docker or podman, or name the packages: image and conda_file")


def _answers(line: Sequence[str], environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            line, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _run(line: Sequence[str], environ: Mapping[str, str]) -> Iterator[Event]:
    ended = yield from steps.run(line, environ=environ, folder=Path.home())
    if ended.code:
        said = " · ".join(ended.said.splitlines()[-TOLD:])
        raise Invalid(f"the image could not be made: {said}", hint=f"try it by hand: {' '.join(line)}")
