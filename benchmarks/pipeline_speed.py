"""Pipelines: what a step costs beside its own work, and how long it takes to find that nothing has changed.

    python benchmarks/pipeline_speed.py               # 100 steps side by side, 100 in a chain, both again
    python benchmarks/pipeline_speed.py --steps 20    # fewer

Every step says one word and does nothing else. "Side by side" needs nothing of another step, as many run at once as
there are cores; in the chain each reads what the one before it has written. The time is from submitting the pipeline to
its end, seen by whoever waits for it; overhead is that time by step, less what `bash` takes for the same command. The
second run of the same pipeline reuses every step. Slowdown is the wall time over the CPU time of a busy loop before
each row: 1.0 is a free core, and where it is more the figures are upper bounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jobs import records
from jobs.create import create
from jobs.files import job_of
from jobs.submit import wait
from workspace.home import Workspace
from workspace.settings import Settings

LONGEST = 600.0


def slowdown() -> float:
    """Return how much longer than its CPU time a busy loop takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.3:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def bash() -> float:
    """Return the seconds that bash takes for the command of a step."""
    began = time.perf_counter()
    for _ in range(20):
        subprocess.run(["bash", "-c", "echo step"], check=True, stdout=subprocess.DEVNULL)  # noqa: S607
    return (time.perf_counter() - began) / 20


def side_by_side(steps: int) -> dict[str, Any]:
    """Return steps that need nothing of each other."""
    return {f"s{number}": {"command": f"echo step {number}"} for number in range(steps)}


def chain(steps: int) -> dict[str, Any]:
    """Return steps that each read what the one before has written."""
    found: dict[str, Any] = {}
    for number in range(steps):
        before = {"i": f"${{{{parent.jobs.s{number - 1}.outputs.o}}}}"} if number else {}
        found[f"s{number}"] = {
            "command": f"echo step {number} > ${{{{outputs.o}}}}/o",
            "inputs": before,
            "outputs": {"o": {}},
        }
    return found


def measure(workspace: Workspace, folder: Path, called: str, jobs: dict[str, Any]) -> None:
    """Print the rows of one pipeline: run, and reused."""
    own = bash()
    for again in (False, True):
        slow = slowdown()
        job = job_of({"type": "pipeline", "experiment_name": called, "jobs": jobs}, folder)
        began = time.perf_counter()
        ended = wait(workspace, create(workspace, job).name, seconds=LONGEST)
        seconds = time.perf_counter() - began
        if ended.status != "Completed":
            sys.exit(f"{ended.name}: {ended.status}: {ended.error}")
        children = records.list_jobs(workspace, parent=ended.name, limit=10_000)
        reused = sum("studiolo.reused_from" in child.properties for child in children)
        if len(children) != len(jobs) or reused != (len(jobs) if again else 0):
            sys.exit(f"{len(children)} steps, {reused} of them reused")
        overhead = seconds / len(jobs) - (0 if again else own)
        name = f"{called}, again" if again else called
        print(f"| {name} | {len(jobs)} | {seconds:.2f} s | {1000 * overhead:.0f} ms | {slow:.2f} |", flush=True)


def main() -> None:
    """Measure both pipelines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    asked = parser.parse_args()
    print("| steps | number | time | overhead a step | slowdown |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Workspace.open(settings=Settings(home=folder / "home")) as workspace:
            measure(workspace, folder, "side by side", side_by_side(asked.steps))
            measure(workspace, folder, "chain", chain(asked.steps))


if __name__ == "__main__":
    main()
