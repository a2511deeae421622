"""The processes that hold the script, on the machines of a Ray cluster, wherever it has room.

Standard library only, from Python 3.8 on: it runs in the job's own Python.
"""

from __future__ import annotations

import os
import pickle
import select
import sys
import time
from typing import TYPE_CHECKING, Any

from jobs.parallel import worker
from jobs.ray.remote_processes import NoCluster, RemoteProcesses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobs.parallel.schedule import MiniBatch

CLUSTER = "STUDIOLO_RAY"  # the variable that says how the cluster is reached, and what one worker needs
PATIENCE = 15.0  # seconds for all workers to shut down
_RAYS = "RAY_"  # variables of the driver's own job


class Distant:
    """One process of the cluster."""

    def __init__(self, processes: RemoteProcesses, number: int) -> None:
        self.number = number
        self.batch: MiniBatch | None = None
        self.began: float | None = None
        self.is_ready = False
        self._processes = processes
        self._came = bytearray()

    def give(self, batch: MiniBatch) -> None:
        """Have it work on a mini-batch."""
        self.batch, self.began = batch, time.monotonic()
        body = pickle.dumps((batch.number, batch.items, batch.partition), protocol=4)
        self._processes.write(self.number, worker.SIZE.pack(len(body)) + body)

    def whole(self, chunk: bytes) -> Iterator[tuple[Any, ...]]:
        """Yield what is complete of what it has said."""
        self._came += chunk
        while len(self._came) >= worker.SIZE.size:
            end = worker.SIZE.size + worker.SIZE.unpack(self._came[: worker.SIZE.size])[0]
            if len(self._came) < end:
                return
            body = bytes(self._came[worker.SIZE.size : end])
            del self._came[:end]
            yield pickle.loads(body)  # noqa: S301  both sides are of one job


class Elsewhere:
    """The workers of a step that Ray runs. `max_concurrency_per_instance` is as many as a machine has cores."""

    def __init__(self, plan: Mapping[str, Any], arguments: Sequence[str], told: Mapping[str, Any]) -> None:
        self._processes = RemoteProcesses(told, os.environ)
        self.most = int(plan["workers"]) if plan["said"] else self._processes.cores * int(plan["instances"])
        self._line = [sys.executable, worker.__file__, "{channel}", plan["entry"], plan["level"], *arguments]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_RAYS) and name != CLUSTER
        }
        self._workers: dict[int, Distant] = {}

    def hire(self) -> Distant:
        """Ask for one; it begins when there is room for it."""
        number = self._processes.start(self._line, self._environment, os.getcwd())  # noqa: PTH109
        self._workers[number] = Distant(self._processes, number)
        return self._workers[number]

    def heard(self, pause: float) -> Iterator[tuple[Distant, tuple[Any, ...]]]:
        """Yield what they say, waiting so many seconds for the first word; `gone` and `lost` of who has ended."""
        while select.select([self._processes.channel], [], [], pause)[0]:
            kind, number, value = self._processes.hear()
            if kind == "closed":
                raise NoCluster(value)
            pause = 0.0
            each = self._workers.get(number)
            if kind == "said":
                sys.stdout.buffer.write(value)
                sys.stdout.flush()
            elif each is None:
                continue  # what it says comes too late
            elif kind == "placed":
                each.began = time.monotonic()
            elif kind == "channel":
                for said in each.whole(value):
                    yield each, said
            else:
                del self._workers[number]
                yield each, (kind, f"exit code {value}" if kind == "gone" else f"its machine: {value}")

    def end(self, each: Distant) -> None:
        """End one for good."""
        self._workers.pop(each.number, None)
        self._processes.kill(each.number)

    def dismiss(self, workers: Sequence[Distant]) -> None:
        """Let them shut down; those that never had room are not waited for."""
        for each in workers:
            if each.began is None:
                self.end(each)
            else:
                self._processes.finish(each.number)
        self._until_gone(PATIENCE)
        if self._workers:
            print("a process did not shut down and is killed", flush=True)  # noqa: T201  the job's log

    def stopped(self) -> None:
        """Wait for the workers, which were asked to end as we were; who asks has a limit of their own."""
        for each in [each for each in self._workers.values() if each.began is None]:
            self.end(each)
        self._until_gone(PATIENCE)

    def close(self) -> None:
        """End all that is left."""
        self._processes.close()

    def _until_gone(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self._workers and time.monotonic() < deadline:
            for _ in self.heard(0.2):
                pass
