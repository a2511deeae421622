"""What the trace of a run costs: `studiolo flow run` over the three-node flow as it is, and with no node kept.

    python benchmarks/trace_cost.py [--lines 10000] [--rounds 9]

The two take turns, each command in a fresh home, start and end included. Without the trace, the worker writes of a line
its number, inputs, outputs and duration: what nodes were given, gave, and when, is neither copied nor written. CPU
seconds are those of both processes, and vary less than the clock where others are at work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from flow_speed import HERE, Studiolo, rows

# Python runs this before anything else: there is no switch for it in the product.
WITHOUT = """
import os, sys
if "flows.worker" in sys.orig_argv and os.environ.get("BENCHMARK_UNTRACED"):
    from dataclasses import replace
    from flows import line, results, runner
    nothing, to_json = results.NodeRecord(name="", type="", status="Completed"), results.to_json
    line._record = lambda *_: nothing
    runner._shown = lambda _: {}
    results.to_json = lambda each: to_json(replace(each, nodes=()))
"""


def measure(home: Studiolo, flow: Path, data: Path, *, traced: bool) -> tuple[float, float]:
    """Return the seconds and the CPU seconds of a run."""
    environment = home.environment() | {"PYTHONPATH": str(flow.parents[1])}
    if not traced:
        environment["BENCHMARK_UNTRACED"] = "1"
    command = home.batch(flow, data, ["text=${data.text}", "n=${data.n}"])
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, env=environment, cwd=home.home, check=True, capture_output=True)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "sitecustomize.py").write_text(WITHOUT)
        shutil.copytree(HERE / "flows", folder / "flows")
        data = rows(folder / "rows.jsonl", asked.lines)
        for number in range(asked.rounds):
            for traced in (True, False):
                home = Studiolo(f"{number}-{traced}", folder)
                found[traced].append(measure(home, folder / "flows" / "three_nodes", data, traced=traced))
    print(f"| {asked.lines:,} lines, {asked.rounds} rounds | with the trace | without | cost |\n|---|---|---|---|")
    for title, index in (("lines/s", 0), ("lines a CPU second", 1)):
        for kind, choose in (("middle", statistics.median), ("best", min)):
            kept, bare = (asked.lines / choose(each[index] for each in found[traced]) for traced in (True, False))
            print(f"| {title}, {kind} | {kept:,.0f} | {bare:,.0f} | {100 * (1 - kept / bare):.1f} % |")


if __name__ == "__main__":
    main()
