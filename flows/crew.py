"""The parent's side of a worker process: send lines, receive results, and let nothing outlive us."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

from flows.connections import Connection
from flows.flow import Flow
from flows.results import LineRecord, NodeRecord, from_json
from workspace.errors import Invalid, Location, Unavailable


class Worker:
    """One worker process with the flow's folder, environment and import path."""

    def __init__(
        self, flow: Flow, connections: Mapping[str, Connection], *, concurrency: int, log: Path | None
    ) -> None:
        self._flow = flow
        self._stderr: Any = log.open("ab") if log else None
        self._process = subprocess.Popen(
            # -P: a file of the flow may be called as a module of ours.
            [sys.executable, "-P", "-m", "flows.worker"],
            cwd=flow.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
        # Results are taken as they come: a worker that waits to be heard could not hear us.
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        start = {
            "flow": str(flow.file),
            "variant": flow.variant,
            "concurrency": concurrency,
            "connections": {name: asdict(connection) for name, connection in connections.items()},
        }
        self._send(start)
        said = self.receive()
        if "refused" in said:
            self.close()
            raise Invalid(f"the flow's code cannot be loaded: {said['refused']}", at=Location(flow.file))

    def send_line(self, number: int, inputs: Mapping[str, Any]) -> None:
        """Have one line run."""
        self._send({"line": number, "inputs": inputs})

    def receive_line(self) -> LineRecord:
        """Wait for the next line to end."""
        return from_json(json.dumps(self.receive()["line"]))

    def aggregate(self, lists: Mapping[str, Any]) -> tuple[tuple[NodeRecord, ...], dict[str, float]]:
        """Run the aggregation nodes over all lines; return their records and the metrics they logged."""
        self._send({"aggregate": lists})
        said = self.receive()
        records = (NodeRecord(**{**record, "tokens": tuple(record["tokens"])}) for record in said["aggregated"])
        return tuple(records), said["metrics"]

    def receive(self) -> dict[str, Any]:
        """Wait for the next message; raises Unavailable where the process died."""
        raw = self._inbox.get()
        if not raw:
            code = self._process.wait()
            raise Unavailable(
                f"the flow's worker process ended with code {code}",
                hint="a node may have ended the process; see the log",
            )
        return cast("dict[str, Any]", json.loads(raw))

    def close(self) -> None:
        """End the process."""
        cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._stderr:
            self._stderr.close()

    def _listen(self) -> None:
        with cast("IO[bytes]", self._process.stdout) as results:
            for raw in results:
                self._inbox.put(raw)
        self._inbox.put(b"")

    def _send(self, message: Mapping[str, Any]) -> None:
        pipe = cast("IO[bytes]", self._process.stdin)
        try:
            pipe.write(json.dumps(message, default=str).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            self.receive()  # says how it died, or what it refused


@contextmanager
def worker(
    flow: Flow, connections: Mapping[str, Connection], *, concurrency: int, log: Path | None = None
) -> Iterator[Worker]:
    """Start a worker for the block."""
    started = Worker(flow, connections, concurrency=concurrency, log=log)
    try:
        yield started
    finally:
        started.close()
