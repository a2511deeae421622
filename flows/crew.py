"""The parent's side of the worker processes: hand lines out, hear what ended, replace what dies, outlive nothing."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Protocol, cast

from flows.connections import Connection
from flows.flow import Flow
from flows.results import FAILED, LineRecord, NodeRecord, line_from, node_from, places, to_json
from flows.wire import pack
from workspace.errors import Invalid, Location, StudioloError, Unavailable

LINES = 100  # at the same time, where nobody says otherwise
CHUNK = 64  # lines in one message
FEW = 8  # the same, to one elsewhere: so that all have some
AHEAD = 192  # lines that wait in a worker beyond those it runs
GRACE = 10.0  # seconds that a worker has beyond the time of a line before it counts as hanging


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How lines are run: `workers` processes with `concurrency` lines each, `line_timeout` seconds a line.

    `log` is the run's log, or None where the one line's record is wanted at once. `environment` goes over the flow's
    own variables; `init` makes a flex class; `cassette` is (path, "record" | "replay"); `traces` is whether the lines
    will be told as traces, so that requests to models can hang under them.
    """

    concurrency: int = LINES
    workers: int = 1
    line_timeout: float = 600.0
    log: Path | None = None
    output: Path | None = None  # for what the flow's code prints
    images: Path | None = None  # for the images of its outputs
    home: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    cassette: tuple[Path, str] | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)  # of models, for what is kept of their answers
    traces: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A line to run. `given` are outputs of nodes that are known already."""

    number: int
    inputs: Mapping[str, Any]
    given: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A line that ended and is in the log."""

    number: int
    status: str
    duration: float
    error: str | None
    tokens: tuple[int, int]
    cost: float | None
    models: tuple[str, ...]


class Process(Protocol):
    """A worker process, wherever it is: `flows.worker`, told and heard line by line."""

    outstanding: dict[int, Task]
    heard_at: float
    is_ready: bool

    def tell(self, message: bytes) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> int: ...


class _Process:
    """One worker process; what it says goes to the inbox, as (process, message), and None when it is gone."""

    def __init__(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.outstanding: dict[int, Task] = {}
        self.heard_at = time.monotonic()
        self.is_ready = False  # importing the flow's code may take long
        self._process = subprocess.Popen(
            # -P: a file here may be called as a module of ours.
            [sys.executable, "-P", "-m", "flows.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
        self._inbox = inbox
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, message: bytes) -> None:
        """Send a message; a process that is gone is heard of in the inbox."""
        pipe = cast("IO[bytes]", self._process.stdin)
        try:
            pipe.write(message + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):
            return

    def kill(self) -> None:
        """End a process that hangs."""
        self._process.kill()

    def close(self) -> int:
        """End the process; return how it ended."""
        with suppress(BrokenPipeError):
            cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._process.returncode

    def _listen(self) -> None:
        # Taken as they come: a worker that waits to be heard could not hear us.
        with cast("IO[bytes]", self._process.stdout) as results:
            for raw in results:
                self._inbox.put((self, raw))
        self._inbox.put((self, None))


class Crew:
    """Worker processes. They start up at once, and know what to run from `begin` on.

    `hire` starts them elsewhere: then it is us who write the log, and what aggregates runs here.
    """

    def __init__(self, workers: int = 1, *, hire: Callable[[queue.SimpleQueue[Any]], Process] | None = None) -> None:
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._is_here = hire is None
        self._hire = hire or _Process
        self._chunk = CHUNK if self._is_here else FEW
        self._processes: list[Process] = [self._hire(self._inbox) for _ in range(workers)]
        self._suspects: dict[int, int] = {}  # how many workers died while they had this line
        self._stillborn = 0  # how many in a row died before they were ready

    def begin(self, flow: Flow, connections: Mapping[str, Connection], conditions: Conditions) -> None:
        """Tell the workers which flow they run; what its code does when imported is heard of with the first line."""
        self._flow, self._conditions = flow, conditions
        self._start = json.dumps(
            {
                "flow": pack(flow),
                "environment": {**flow.environment_variables, **conditions.environment},
                "concurrency": conditions.concurrency,
                "line_timeout": conditions.line_timeout,
                "log": _text(conditions.log) if self._is_here else None,
                "output": _text(conditions.output),
                "home": _text(conditions.home),
                "images": _text(conditions.images),
                "init": dict(conditions.init),
                "revisions": dict(conditions.revisions),
                "traces": conditions.traces,
                "cassette": [str(conditions.cassette[0].resolve()), conditions.cassette[1]]
                if conditions.cassette
                else None,
                "connections": {name: asdict(connection) for name, connection in connections.items()},
            },
            default=str,
        ).encode()
        for process in self._processes:
            process.tell(self._start)

    def run(self, tasks: Iterable[Task]) -> Iterator[Ended]:
        """Run lines; each is yielded once, when it is in the log. A line that ends its worker twice has failed."""
        rest = iter(tasks)
        again: deque[Task] = deque()
        alone: deque[Task] = deque()
        while True:
            exhausted = self._hand_out(rest, again)
            busy = any(process.outstanding for process in self._processes)
            if not busy and exhausted and not again:
                if not alone:
                    return
                self._send(self._processes[0], [alone.popleft()])
            process, message = self._hear()
            if message is None:
                yield from self._replace(process, again, alone)
                continue
            if "line" in message:
                yield from self._written(process, line_from(message["line"]))
            for number, *rest_of_it in message.get("done", ()):
                if process.outstanding.pop(number, None) is not None:
                    yield Ended(number, *rest_of_it)

    def test(self, task: Task) -> LineRecord:
        """Run one line and return its record; only where there is no log."""
        self._send(self._processes[0], [task])
        process, message = self._hear()
        if message is None:
            raise self._died(process)
        return line_from(message["line"])

    def aggregate(self, over: Path | LineRecord) -> tuple[tuple[NodeRecord, ...], dict[str, float]]:
        """Run what runs once over the lines of a log, or over one line; return its records and the metrics logged."""
        process, again = self._processes[0] if self._is_here else self._beside(), isinstance(over, Path)
        given = {"log": str(over)} if isinstance(over, Path) else {"line": json.loads(to_json(over))}
        process.tell(json.dumps(given).encode())
        while True:
            speaker, message = self._hear(patience=None)
            if speaker is not process:
                continue
            if message is None:
                if not again:
                    raise self._died(process)
                process.close()
                process, again = self._new(), False
                self._processes[0] = process
                process.tell(json.dumps(given).encode())
            elif "aggregated" in message:
                return tuple(node_from(each) for each in message["aggregated"]), message["metrics"]

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.close()

    def _new(self) -> Process:
        process = self._hire(self._inbox)
        process.tell(self._start)
        return process

    def _beside(self) -> Process:
        """Return a process of this machine, for what runs once."""
        process = _Process(self._inbox)
        process.tell(self._start)
        self._processes.insert(0, process)
        return process

    def _written(self, process: Process, line: LineRecord) -> Iterator[Ended]:
        """Write down a line that has ended elsewhere."""
        if process.outstanding.pop(line.number, None) is not None and self._conditions.log is not None:
            append(self._conditions.log, line)
            yield Ended(line.number, *line.summary())

    def _hand_out(self, rest: Iterator[Task], again: deque[Task]) -> bool:
        """Fill the workers; return whether there are no lines left."""
        most = self._conditions.concurrency + AHEAD
        while True:
            process = min(self._processes, key=lambda each: len(each.outstanding))
            room = most - len(process.outstanding)
            if room < min(self._chunk, most // 2):
                return False
            size = min(room, self._chunk)
            chunk = [again.popleft() for _ in range(min(len(again), size))]
            for task in rest if len(chunk) < size else ():
                chunk.append(task)
                if len(chunk) >= size:
                    break
            if not chunk:
                return True
            self._send(process, chunk)

    def _send(self, process: Process, chunk: list[Task]) -> None:
        for task in chunk:
            process.outstanding[task.number] = task
        lines = [[task.number, task.inputs, task.given] for task in chunk]
        process.heard_at = time.monotonic()
        process.tell(json.dumps({"lines": lines}, default=str).encode())

    def _hear(self, *, patience: float | None = 1.0) -> tuple[Process, dict[str, Any] | None]:
        while True:
            try:
                process, raw = self._inbox.get(timeout=patience)
            except queue.Empty:
                self._kill_hanging()
                continue
            process.heard_at = time.monotonic()
            if raw is None:
                return process, None
            message = json.loads(raw)
            if "refused" in message:
                at = Location(Path(message.get("at") or self._flow.file))
                raise Invalid(message["refused"], hint=message.get("hint"), at=at)
            if "stopped" in message:
                raise Unavailable(message["stopped"], hint="what has ended is kept: make room, then --resume-from")
            if "ready" not in message:
                return process, message
            process.is_ready = True

    def _kill_hanging(self) -> None:
        longest = self._conditions.line_timeout + GRACE
        for process in self._processes:
            if process.is_ready and process.outstanding and time.monotonic() - process.heard_at > longest:
                process.kill()

    def _replace(self, dead: Process, again: deque[Task], alone: deque[Task]) -> Iterator[Ended]:
        """Put a new process in the place of a dead one; its lines run again, those of two dead workers one by one.

        Where two in a row die before they are ready, it is the flow's code that ends them.
        """
        log = self._conditions.log
        code = dead.close()
        self._stillborn = 0 if dead.is_ready else self._stillborn + 1
        if log is None or self._stillborn > 1:
            raise self._died(dead)
        self._processes[self._processes.index(dead)] = self._new()
        if not dead.is_ready:
            again.extend(dead.outstanding.values())
            return
        with log.open("rb") as file:
            written = places(file)
            for number in [number for number in dead.outstanding if number in written]:
                file.seek(written[number])
                line = line_from(json.loads(file.readline()))
                del dead.outstanding[number]
                yield Ended(number, *line.summary())
        was_alone = len(dead.outstanding) == 1
        for number, task in dead.outstanding.items():
            self._suspects[number] = self._suspects.get(number, 0) + 1
            if self._suspects[number] >= 2 and was_alone:
                yield self._gave_up(task, log, code)
            else:
                (alone if self._suspects[number] >= 2 else again).append(task)

    def _gave_up(self, task: Task, log: Path, code: int) -> Ended:
        error = f"the worker process ended with code {code} while it ran this line"
        line = LineRecord(
            number=task.number, status=FAILED, inputs=task.inputs, outputs=None, error=error, nodes=(), duration=0.0
        )
        append(log, line)
        return Ended(task.number, *line.summary())

    def _died(self, process: Process) -> StudioloError:
        code = process.close()
        if not process.is_ready:
            return Unavailable(
                f"the flow's worker process ended with code {code} while it loaded the flow",
                hint="code that runs when it is imported may have ended the process",
            )
        return Unavailable(
            f"the flow's worker process ended with code {code}", hint="a node may have ended the process"
        )


def append(log: Path, line: LineRecord) -> None:
    """Write a line that no worker ran to the run's log."""
    with log.open("ab", buffering=0) as file:
        file.write(to_json(line))


@contextmanager
def crew(
    flow: Flow, connections: Mapping[str, Connection], conditions: Conditions, *, started: Crew | None = None
) -> Iterator[Crew]:
    """Have worker processes for the block, `started` before or now."""
    from flows import includes

    workers = started or Crew(conditions.workers)
    try:
        with includes.merged(flow) as runs:
            workers.begin(runs, connections, conditions)
            yield workers
    finally:
        workers.close()


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def without_log(conditions: Conditions) -> Conditions:
    """Return the conditions of a test: one line, whose record is wanted at once."""
    return replace(conditions, log=None, workers=1)
