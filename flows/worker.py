"""The process in which the code of a flow runs: lines come in on standard input, results leave on a pipe of their own.

A line that has ended is in the run's log before anyone is told. What the flow's code prints goes to standard error,
and the process ends when its parent does.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows import source_file, spans
from flows.aggregation import gather, over_outputs
from flows.connections import Connection
from flows.flow import Flow
from flows.line_trace import of_row
from flows.masking import Mask
from flows.prices import FILE, Prices
from flows.promptflow import names as promptflow_names
from flows.results import COMPLETED, LineRecord, last_lines, line_from, node_fields, to_json
from flows.runner import Runner
from flows.steps import Kit
from flows.wire import unpack
from workspace.errors import StudioloError

MANY = 50_000  # objects made before they are gone through; most of a line's are gone by then
HELD = 1 << 16  # bytes of finished lines that may wait to be written together
DISK_FULL = 74


class Worker:
    """Runs the lines it is sent; finished ones go to the log and are told of, a handful at a time."""

    def __init__(self, start: Mapping[str, Any], results: int) -> None:
        self._results = results
        self._log = os.open(start["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if start["log"] else None
        self._held = bytearray()
        self._told: list[tuple[Any, ...]] = []
        self._told_on = bool(start.get("traces"))
        kit = make_kit(unpack(start["flow"]), start)
        self._mask = Mask(kit.connections.values())
        self._runner = Runner(
            kit,
            concurrency=start["concurrency"],
            line_timeout=start["line_timeout"],
            idle=self._flush,
        )

    def serve(self) -> None:
        """Answer messages until standard input closes."""
        for raw in sys.stdin.buffer:
            message = json.loads(raw)
            if "lines" in message:
                for number, inputs, given in message["lines"]:
                    self._runner.start(number, inputs, self._ended, given=given, trace=of_row(told=self._told_on))
            else:
                self._aggregate(message)

    def _ended(self, line: LineRecord) -> None:
        written = to_json(line)
        if self._mask.shows(written):
            line = line_from(self._mask.value(json.loads(written)))
            written = to_json(line)
        if self._log is None:
            send(self._results, {"line": json.loads(written)})
            return
        self._held += written
        self._told.append((line.number, *line.summary()))
        if len(self._held) > HELD:
            self._flush()

    def _flush(self) -> None:
        if not self._told or self._log is None:
            return
        try:
            write(self._log, self._held)
        except OSError as error:
            send(self._results, {"stopped": f"the run's log cannot be written: {error.strerror}"})
            os._exit(DISK_FULL)
        told, self._told, self._held = self._told, [], bytearray()
        send(self._results, {"done": told})

    def _aggregate(self, message: Mapping[str, Any]) -> None:
        promptflow_names.METRICS.clear()
        flow = self._runner.kit.flow
        listed = [line_from(message["line"])] if "line" in message else last_lines(Path(message["log"]))
        lines = (line for line in listed if line.status == COMPLETED)
        if flow.kind == "flex":
            records = over_outputs(self._runner.plan, [line.outputs for line in lines])
        else:
            records = self._runner.aggregate(*gather(flow, lines))
        metrics = dict(promptflow_names.METRICS)
        written = self._mask.value(json.loads(json.dumps([node_fields(record) for record in records], default=repr)))
        send(self._results, {"aggregated": written, "metrics": metrics})


def make_kit(flow: Flow, start: Mapping[str, Any]) -> Kit:
    """Make this process the flow's: its folder, variables, import path; return what its nodes are run with."""
    if start.get("output"):
        printed = os.open(start["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
    os.chdir(flow.folder)
    os.environ.update(start["environment"])
    sys.path.insert(0, str(flow.folder))
    promptflow_names.install()
    kit = Kit(
        flow=flow,
        connections={name: Connection(**fields) for name, fields in start["connections"].items()},
        init=start.get("init") or {},
        stream=bool(start.get("stream")),
        revisions=start.get("revisions") or {},
        home=Path(start["home"]) if start.get("home") else None,
    )
    if kit.home is not None:
        spans.use_prices(Prices.read(kit.home / FILE))
    if start.get("images"):
        from flows import images

        folder = Path(start["images"])
        kit.write_image = lambda image: images.write(image, folder, form=flow.message_format)
    mask = Mask(kit.connections.values())
    sys.stdout, sys.stderr = mask.stream(sys.stdout), mask.stream(sys.stderr)
    if start.get("cassette"):
        from flows.cassette import Cassette

        path, mode = start["cassette"]
        kit.cassette = Cassette.open(Path(path), mode, hide=mask.text)
    return kit


def write(file: int, content: bytes | bytearray) -> None:
    """Write all of it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def send(results: int, message: Mapping[str, Any]) -> None:
    """Tell the parent."""
    write(results, (json.dumps(message, ensure_ascii=False, default=repr) + "\n").encode("utf-8", "surrogatepass"))


def main() -> None:
    """Run as `python -m flows.worker`: the results leave where standard output was."""
    gc.set_threshold(MANY)
    results = os.dup(1)
    os.dup2(2, 1)
    from flows import images, python_tools  # noqa: F401 - most flows need them, and the parent is not ready yet

    start = json.loads(sys.stdin.buffer.readline() or "null")
    if start is None:
        return
    mask = Mask(Connection(**fields) for fields in start["connections"].values())
    try:
        worker = Worker(start, results)
    except StudioloError as error:
        send(results, {"refused": mask.text(error.message), "hint": error.hint, "at": str(error.at or "")})
        return
    except Exception as error:  # noqa: BLE001 - importing the flow's code may raise anything
        said = mask.text(f"{type(error).__name__}: {error}")
        at = source_file.place(error, unpack(start["flow"]["folder"]))
        send(results, {"refused": f"the flow's code cannot be loaded: {said}", "at": at})
        return
    send(results, {"ready": os.getpid()})
    worker.serve()
    os._exit(0)  # the parent is gone or has what it wanted; threads may still hang


if __name__ == "__main__":
    main()
