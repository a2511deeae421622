"""The processes that hold the script, on the machine of the driver.

Standard library only, from Python 3.8 on: it runs in the job's own Python.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from jobs.parallel import worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobs.parallel.schedule import MiniBatch

PATIENCE = 10.0  # seconds for a worker to shut down


class Worker:
    """One process and the channel to it."""

    def __init__(self, plan: Mapping[str, Any], arguments: Sequence[str]) -> None:
        self.channel, theirs = socket.socketpair()
        line = [sys.executable, worker.__file__, str(theirs.fileno()), plan["entry"], plan["level"], *arguments]
        with theirs:
            self.process = subprocess.Popen(line, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        self.batch: MiniBatch | None = None
        self.began: float | None = time.monotonic()
        self.is_ready = False

    def give(self, batch: MiniBatch) -> None:
        """Have it work on a mini-batch."""
        self.batch, self.began = batch, time.monotonic()
        try:
            worker.send(self.channel, (batch.number, batch.items, batch.partition))
        except ConnectionError:
            return  # it has died: reading will tell


class Processes:
    """The workers of a step that are children of the driver."""

    def __init__(self, plan: Mapping[str, Any], arguments: Sequence[str]) -> None:
        self.most = int(plan["workers"])
        self._plan = plan
        self._arguments = arguments
        self._selector = selectors.DefaultSelector()

    def hire(self) -> Worker:
        """Start one."""
        made = Worker(self._plan, self._arguments)
        self._selector.register(made.channel, selectors.EVENT_READ, made)
        return made

    def heard(self, pause: float) -> Iterator[tuple[Worker, tuple[Any, ...]]]:
        """Yield what they say, waiting so many seconds for the first word; `("gone", why)` of one that has died."""
        for key, _ in self._selector.select(pause):
            each: Worker = key.data
            said = worker.receive(each.channel)
            yield each, said if said is not None else ("gone", f"exit code {self.end(each)}")

    def end(self, each: Worker) -> int:
        """End one for good; return its exit code."""
        self._selector.unregister(each.channel)
        each.channel.close()
        each.process.kill()
        return each.process.wait()

    def dismiss(self, workers: Sequence[Worker]) -> None:
        """Let them shut down."""
        for each in workers:
            each.channel.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + PATIENCE
        for each in workers:
            try:
                each.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                print("a process did not shut down and is killed", flush=True)  # noqa: T201  the job's log
            self.end(each)

    def stopped(self) -> None:
        """Whoever has asked us to end has asked them too."""

    def close(self) -> None:
        """Nothing is left but the workers themselves."""
        self._selector.close()
