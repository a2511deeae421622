"""Lineage: how long it takes to follow 100,000 edges to depth 10, and how many events eight writers keep at once.

    python benchmarks/lineage_speed.py

The graph has 50,000 nodes, each made from two of the 200 before it, so that ten steps lead to hundreds of edges. The
writers are processes: each keeps its events one by one, an event a transaction, in one database, all at once; then the
same through the spool, counted when the last event is in the database. Slowdown is the wall time over the CPU time of
a busy loop before each part: 1.0 is a free core, and where it is more the figures are lower bounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
import time
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path

from workspace.home import Workspace
from workspace.nodes import add_edges
from workspace.settings import Settings

EDGES, WRITERS, EVENTS, DEPTH, ASKED = 100_000, 8, 500, 10, 300
RUN = "0" * 32


def slowdown() -> float:
    """Return how much slower than on a free core this process gets on."""
    wall, cpu = time.perf_counter(), time.process_time()
    sum(number * number for number in range(1_000_000))
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def fill(workspace: Workspace, draw: random.Random) -> None:
    """Write the graph."""
    pairs = [
        (f"data:n{max(0, number - draw.randint(1, 200))}:1", f"data:n{number}:1")
        for number in range(1, EDGES // 2 + 1)
        for _ in range(2)
    ]
    extra = iter(range(EDGES))
    unique = set(pairs)
    while len(unique) < EDGES:  # two edges of a node may have been one
        number = next(extra) % (EDGES // 2) + 1
        unique.add((f"data:n{max(0, number - draw.randint(1, 200))}:1", f"data:n{number}:1"))
    with workspace.light.write(durable=False) as statements:
        add_edges(statements, RUN, sorted(unique))


def walks(workspace: Workspace, draw: random.Random) -> None:
    """Print the row of asking."""
    fill(workspace, draw)
    slow = slowdown()
    times, found = [], []
    for _ in range(ASKED):
        node = f"data:n{draw.randint(EDGES // 10, EDGES // 2)}:1"
        began = time.perf_counter()
        found.append(len(workspace.lineage.upstream(node, DEPTH)))
        times.append(time.perf_counter() - began)
    p95 = statistics.quantiles(times, n=20)[-1]
    print(
        f"| depth {DEPTH} over {EDGES:,} edges: p50, p95 ({statistics.median(found):.0f} edges found) | "
        f"{statistics.median(times) * 1000:.1f}, {p95 * 1000:.1f} ms | ≤ 50 ms | {slow:.2f} |"
    )


def write(home: Path, number: int, start: Barrier, way: str) -> None:
    """Keep the events of one writer, each by itself."""
    with Workspace.open(settings=Settings(home=home)) as workspace:
        workspace.light.rows("SELECT 1 AS one")
        start.wait()
        for event in range(EVENTS):
            edge = {"source": f"data:w{number}-{event}:1", "target": f"run:{uuid.uuid4().hex}"}
            if way == "direct":
                with workspace.light.write() as statements:
                    add_edges(statements, RUN, [(edge["source"], edge["target"])])
            else:
                workspace.spool.append("lineage", edge, durable=True)


def writers(home: Path, way: str) -> None:
    """Print the row of one way to keep events."""
    with Workspace.open(settings=Settings(home=home)) as workspace:
        slow = slowdown()
        context = multiprocessing.get_context("spawn")
        start = context.Barrier(WRITERS + 1)
        made = [context.Process(target=write, args=(home, number, start, way)) for number in range(WRITERS)]
        for process in made:
            process.start()
        start.wait()
        began = time.perf_counter()
        for process in made:
            process.join()
        if way == "spool":
            workspace.spool.ingest()
        seconds = time.perf_counter() - began
        table, like = ("edges", "source LIKE 'data:w%'") if way == "direct" else ("events", "kind = 'lineage'")
        kept = workspace.light.rows(f"SELECT count(*) AS n FROM {table} WHERE {like}")[0]["n"]
        assert all(process.exitcode == 0 for process in made)
    total = WRITERS * EVENTS
    print(
        f"| {WRITERS} writers of {EVENTS} events, {way}: lost | {total - kept} | 0 | |\n"
        f"| events a second | {total / seconds:.0f} | 400 | {slow:.2f} |"
    )


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None).parse_args()
    draw = random.Random(7)  # noqa: S311  no secret
    print("| lineage | measured | promised | slowdown |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        with Workspace.open(settings=Settings(home=Path(temporary) / "walks")) as workspace:
            walks(workspace, draw)
        for way in ("direct", "spool"):
            writers(Path(temporary) / way, way)


if __name__ == "__main__":
    main()
