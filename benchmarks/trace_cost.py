"""What tracing costs: lines per second of the three-node flow with its trace, and with nothing kept of its nodes.

    python benchmarks/trace_cost.py [--lines 20000] [--rounds 5]

Both run in this process, in turn: the lines go through the runner and are written to a file as a worker writes them.
Without tracing a line is kept as its number, inputs and outputs alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

import flows
from flows import line as lines
from flows.promptflow import names as promptflow_names
from flows.results import LineRecord, NodeRecord, to_json
from flows.runner import Runner
from flows.steps import Kit

promptflow_names.install()
FLOW = Path(__file__).resolve().parent / "flows" / "three_nodes"
NOTHING = NodeRecord(name="", type="", status="Completed")


def rate(count: int, file: IO[bytes], *, traced: bool) -> float:
    """Return lines per second of `count` lines."""
    kept = lines._record
    if not traced:
        lines._record = lambda *_: NOTHING
    runner = Runner(Kit(flow=flows.load(FLOW), connections={}), concurrency=100)
    over = threading.Semaphore(0)
    room = threading.Semaphore(500)

    def done(record: LineRecord) -> None:
        file.write(to_json(record if traced else replace(record, nodes=())))
        room.release()
        over.release()

    try:
        started = time.perf_counter()
        for number in range(count):
            room.acquire()
            runner.start(number, {"text": f"Some words of line {number}", "n": number}, done)
        for _ in range(count):
            over.acquire()
        return count / (time.perf_counter() - started)
    finally:
        runner.close()
        lines._record = kept


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    found: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryFile() as file:
        for _ in range(asked.rounds):
            for traced in (True, False):
                found[traced].append(rate(asked.lines, file, traced=traced))
    with_trace, without = (statistics.median(found[traced]) for traced in (True, False))
    print("| with the trace | without | cost |\n|---|---|---|")
    print(f"| {with_trace:,.0f} lines/s | {without:,.0f} lines/s | {100 * (1 - with_trace / without):.1f} % |")


if __name__ == "__main__":
    main()
