"""The Python of a job: found ready when it was submitted, or made by a process of its own that can be cancelled."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.command_process import Command, CommandProcess
from jobs.inputs import Laid
from jobs.leftovers import MARKER
from jobs.logs import LogWriter
from jobs.spec import Spec
from jobs.stand_ins import for_own_python, in_container, put_last
from jobs.states import CANCELED
from jobs.watch import Sink, Watch
from workspace.errors import Invalid, StudioloError
from workspace.paths import write_atomically
from workspace.settings import cache_folder

if TYPE_CHECKING:
    from jobs.environments.events import Prepared
    from jobs.files.environment import Environment
    from jobs.files.references import Reference

OWN = "studiolo"  # the environment of this name is the Python that Studiolo itself runs in
ASKED, MADE = "environment.json", "prepare.jsonl"  # in the attempt's folder: what is wanted, what was made of it

OUTSIDE = {"PATH", "HOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR"}  # a container has its own

_ENGINE = ("DOCKER_", "CONTAINER", "BUILDAH_", "XDG_", "DBUS_")  # what docker and podman are told by themselves

Watched = Callable[[int, int, Sink], Watch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """What a command runs with: nothing for our own Python, else variables, and a container where it is in one."""

    variables: Mapping[str, str] = field(default_factory=dict)
    container: Mapping[str, Any] | None = None

    def line(self, shell: Sequence[str], folder: Path, environment: Mapping[str, str], laid: Laid) -> Sequence[str]:
        """Return the command line that runs a shell's command line with it."""
        if self.container is None:
            return shell
        from jobs.environments.containers import Run, command
        from jobs.environments.events import Container

        # What we show read-only in a process of our own, the engine of containers does not see.
        shown = [f"--volume={source}:{target}:ro" for target, source in laid.read_only.items()]
        modules, line = in_container(cache_folder(), ["bash", *shell[1:]])
        run = Run(
            command=line, folder=folder / "code", name=f"studiolo-{environment[MARKER]}",
            mounts={folder: True, modules: False}, variables=sorted(set(environment) - OUTSIDE), options=shown,
        )  # fmt: skip
        return command(Container(Path(self.container["program"]), str(self.container["image"])), run)

    def around(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Return the variables of the process that runs the line: docker and podman want theirs beside the job's."""
        if self.container is None:
            return environment
        return {name: value for name, value in os.environ.items() if name.startswith(_ENGINE)} | dict(environment)

    def end(self, attempt: str) -> None:
        """End the container of an attempt, which does not end with the process that started it."""
        if self.container is not None:
            from jobs.environments.containers import end
            from jobs.environments.events import Container

            container = Container(Path(self.container["program"]), str(self.container["image"]))
            end(container, f"studiolo-{attempt}", os.environ)


def own_python(spec: Spec) -> Python:
    """Return our own Python, which a job without an environment has."""
    return Python() if spec.ours else Python(variables=for_own_python(cache_folder()))


def prepare(spec: Spec, folder: Path, log: LogWriter, watched: Watched) -> Python | None:
    """Return the Python of a job's environment; None where the job was cancelled meanwhile."""
    made = spec.prepared if spec.prepared and Path(spec.prepared["folder"]).exists() else None
    if made is None:
        made = _made(spec, folder, watched)
        if made is None:
            return None
    for said in made["said"]:
        log.note(said)
    if made["container"] is not None:
        return Python(container=made["container"])
    from jobs.environments.layer import layer, variables

    prepared = _prepared(made)
    own = layer(prepared, folder / "python")
    put_last(cache_folder(), folder / "python")
    write_atomically(folder / "python.json", json.dumps({**made, "packages": packages_in(prepared.folder)}))
    return Python(variables=variables(prepared, own, dict(os.environ) | dict(spec.passed)))


def plain(prepared: Prepared) -> dict[str, Any]:
    """Return a prepared environment as JSON keeps it."""
    return json.loads(json.dumps(asdict(prepared), default=str))  # type: ignore[no-any-return]


class _Events:
    """What the process that makes an environment says, line by line; its lines are kept beside the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending = b""
        self.last: dict[str, Any] = {}

    def write(self, chunk: bytes) -> None:
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        with self._path.open("ab") as file:
            for line in lines:
                file.write(line + b"\n")
                if line.startswith(b'{"'):
                    self.last = json.loads(line)


def _prepared(made: Mapping[str, Any]) -> Prepared:
    from jobs.environments.events import Prepared

    return Prepared(python=Path(made["python"]), folder=Path(made["folder"]), said=tuple(made["said"]))


def _made(spec: Spec, folder: Path, watched: Watched) -> dict[str, Any] | None:
    write_atomically(folder / ASKED, json.dumps({"environment": spec.environment, "folder": spec.folder}))
    line = [sys.executable, "-P", "-m", "jobs.preparation", str(folder / ASKED)]
    read, write = os.pipe2(os.O_CLOEXEC)
    process = CommandProcess(Command(line=line, folder=folder, environment=dict(os.environ)), write)
    os.close(write)
    process.go()
    events = _Events(folder / MADE)
    try:
        code, how = watched(process.pid, read, events).wait()
    finally:
        os.close(read)
    if how == CANCELED:
        return None
    if "prepared" in events.last:
        made: dict[str, Any] = events.last["prepared"]
        return made
    what = events.last.get("error") or f"its making ended with code {code}"
    raise Invalid(f"the environment cannot be had: {what}", hint=events.last.get("hint") or f"see {folder / MADE}")


def environment_of(written: Environment | Reference) -> Environment:
    """Return what a job's environment is: a reference names a curated one."""
    from jobs.files.environment import Environment

    return written if isinstance(written, Environment) else Environment(name=written.name, version=written.version)


def read_environment(plain: Any, folder: Path) -> Environment:
    """Read an environment from plain values, as a job's file would say it."""
    from jobs.files import job_of
    from jobs.files.command import CommandJob

    job = job_of({"command": "true", "environment": plain}, folder)
    if not isinstance(job, CommandJob) or job.environment is None:
        raise Invalid("no environment is asked for")
    return environment_of(job.environment)


def packages_in(folder: Path) -> tuple[str, ...]:
    """Return what an environment that was made holds: `("numpy==1.26.4", …)`."""
    from jobs.environments import store

    return store.read(folder).packages


def find(environment: Environment) -> Prepared | None:
    """Return what the environment was made into before, if it was."""
    from jobs.environments import find as found

    return found(cache_folder(), environment)


def main(arguments: Sequence[str]) -> int:
    """Make the environment that a file asks for and say what happens, one line of JSON each."""
    from jobs.environments import Prepared, Preparing
    from jobs.environments import prepare as events_of

    asked = json.loads(Path(arguments[0]).read_text())
    try:
        wanted = read_environment(asked["environment"], Path(asked["folder"]))
        for event in events_of(cache_folder(), wanted):
            if isinstance(event, Prepared):
                print(json.dumps({"prepared": plain(event)}), flush=True)  # noqa: T201  who started us reads it
            elif isinstance(event, Preparing):
                print(json.dumps({"text": event.text}), flush=True)  # noqa: T201
    except StudioloError as error:
        print(json.dumps({"error": str(error), "hint": error.hint}), flush=True)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
