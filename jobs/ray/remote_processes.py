"""Processes on a Ray cluster, for who has no Ray: the other side of `relay.py`.

Standard library only, from Python 3.8 on: the driver of a parallel job has it in the job's own Python.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZE = struct.Struct(">Q")
STOPPING = 60.0  # seconds for all to end that were asked to; who asks kills us sooner
_NOT_RAYS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")  # of the job, not of who runs Ray


class NoCluster(Exception):
    """The cluster cannot be reached."""


class RemoteProcesses:
    """Processes by their numbers; what they say is heard from one channel."""

    def __init__(self, told: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Connect: `told` is which Python has Ray, and what one process needs of a machine."""
        self.channel, theirs = socket.socketpair()
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relay.py")  # noqa: PTH100, PTH118, PTH120
        own = {name: value for name, value in environment.items() if name not in _NOT_RAYS}
        with theirs:
            self._relay = subprocess.Popen(
                [told["python"], program, str(theirs.fileno()), json.dumps(dict(told))],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env=own,
            )  # fmt: skip
        self._count = 0
        first = self.hear()
        if first[0] != "cores":
            self.close()
            raise NoCluster(str(first[-1]))
        self.cores = int(first[1])  # of the machine that has most

    def start(self, line: Sequence[str], environment: Mapping[str, str], folder: str, *, stdio: bool = False) -> int:
        """Have a process where there is room for it; return its number."""
        self._count += 1
        self._tell("hire", self._count, (list(line), dict(environment), folder, stdio))
        return self._count

    def write(self, number: int, content: bytes) -> None:
        """Hand bytes to a process."""
        self._tell("write", number, content)

    def finish(self, number: int) -> None:
        """Let a process see the end of what it is told."""
        self._tell("close", number)

    def kill(self, number: int) -> None:
        """End a process; nothing more is heard of it."""
        self._tell("kill", number)

    def hear(self) -> tuple[Any, ...]:
        """Return the next word: `placed`, `channel`, `said`, `gone` or `lost`, whose it is, and what."""
        head = self._exactly(SIZE.size)
        body = None if head is None else self._exactly(SIZE.unpack(head)[0])
        if body is None:
            return ("closed", 0, "the process that speaks to the cluster has ended")
        found: tuple[Any, ...] = pickle.loads(body)  # noqa: S301  of a child of ours, over a pair of sockets
        return found

    def stop(self) -> None:
        """Ask all to end, as the relay was asked."""
        self._relay.terminate()

    def close(self) -> None:
        """End all of it."""
        self.channel.close()
        try:
            self._relay.wait(5)
        except subprocess.TimeoutExpired:
            self._relay.kill()
            self._relay.wait()

    def _tell(self, *word: Any) -> None:
        body = pickle.dumps(word, protocol=4)
        try:
            self.channel.sendall(SIZE.pack(len(body)) + body)
        except ConnectionError:
            return  # it has died: hearing tells

    def _exactly(self, size: int) -> bytes | None:
        found = bytearray()
        while len(found) < size:
            try:
                chunk = self.channel.recv(min(1 << 20, size - len(found)))
            except ConnectionError:
                return None
            if not chunk:
                return None
            found += chunk
        return bytes(found)
