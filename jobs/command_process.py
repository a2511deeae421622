"""Starting a command so that it cannot be run twice or forgotten: it waits until it is written down who it is."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from jobs.linux import die_with, show_read_only
from workspace.errors import NotFound, Unavailable

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run, where, with which environment; `read_only` says what else is shown at which place."""

    line: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    read_only: Mapping[Path, Path] = field(default_factory=dict)


class CannotMount(Exception):
    """The kernel does not let us show files at other places; they must be copied."""


class CommandProcess:
    """A process that has been made and waits; `go` lets it become the command."""

    def __init__(self, command: Command, output: int) -> None:
        """Make the process, in a session of its own; what it says goes to the descriptor `output`."""
        own = os.getpid()
        wait, self._go = os.pipe2(os.O_CLOEXEC)
        self._told, tell = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, own, wait=wait, tell=tell, output=output, parents=(self._go, self._told))
        os.close(wait)
        os.close(tell)

    def go(self) -> None:
        """Let it run; raise Unavailable where it cannot, CannotMount where its inputs cannot be protected."""
        os.write(self._go, b"1")
        os.close(self._go)
        with open(self._told, "rb") as told:  # noqa: PTH123  a descriptor
            problem = told.read().decode(errors="replace")
        if problem.startswith("mount:"):
            raise CannotMount(problem.removeprefix("mount:"))
        if problem:
            raise Unavailable(f"the command cannot be started: {problem}", hint="is bash installed?")


def shell(command: str, path: str) -> list[str]:
    """Return the command line by which a job's command is run: `bash -c`, the last command's status decides."""
    found = shutil.which("bash", path=path) or shutil.which("bash")
    if found is None:
        raise NotFound("there is no bash, in which commands of jobs run", hint="apt-get install bash")
    return [found, "-c", command]


def _become(command: Command, parent: int, *, wait: int, tell: int, output: int, parents: tuple[int, ...]) -> NoReturn:
    """In the child: get ready, wait for the word, become the command. Whatever goes wrong is told, and ends it."""
    step = ""
    try:
        os.setsid()
        die_with(parent)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for handle in parents:  # else the word would never end where the parent dies
            os.close(handle)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if os.read(wait, 1) != b"1":
            os._exit(1)
        if command.read_only:
            step = "mount:"
            show_read_only(command.read_only)
            die_with(parent)  # a new user namespace may have taken it back
            step = ""
        os.chdir(command.folder)
        os.execve(command.line[0], list(command.line), dict(command.environment))  # noqa: S606  it is the command
    except BaseException as error:  # noqa: BLE001  nothing of the parent's may run in here
        os.write(tell, f"{step}{error}".encode())
    os._exit(127)
