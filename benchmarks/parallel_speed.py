"""A parallel step over many small files against a bare process pool that does the same work on the same files.

    python benchmarks/parallel_speed.py                # 10,000 files in mini-batches of 10, two processes
    python benchmarks/parallel_speed.py --batch 1      # one file a mini-batch

The work is to read a file and take its SHA-256 a few times. The pool is a program of its own, which gives the same
mini-batches to `multiprocessing.Pool.imap` and writes the rows. Ours is the attempt of the step, from the start of its
process to its end: workers, mini-batches, rows joined. Beside it stands the whole job, with what comes before: it is
recorded, and its files become an asset, which they do once. Slowdown is the wall time over the CPU time of a busy loop:
1.0 is a free core.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.create import create
from jobs.files.parallel_job import ParallelJob, parallel_job_of
from jobs.folders import attempt_folder, outputs_of
from jobs.submit import stream, wait
from workspace.home import Workspace
from workspace.settings import Settings

SCRIPT = """
import hashlib
def run(mini_batch):
    rows = []
    for path in mini_batch:
        with open(path, "rb") as file:
            found = file.read()
        for _ in range(20):
            found = hashlib.sha256(found * 40).digest()
        rows.append(found.hex())
    return rows
"""


POOL = """
import multiprocessing, pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import score
if __name__ == "__main__":
    files, batch = pathlib.Path(sys.argv[1]).read_text().split("\\n"), int(sys.argv[2])
    parts = [files[start : start + batch] for start in range(0, len(files), batch)]
    with multiprocessing.Pool(2) as workers, open(sys.argv[3], "w") as file:
        for rows in workers.imap(score.run, parts):
            file.writelines(row + "\\n" for row in rows)
"""


def slowdown() -> float:
    """Return how much longer than its CPU time a busy loop takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.3:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def pool(folder: Path, files: list[str], batch: int) -> float:
    """Return how long a program takes that is nothing but a pool, rows written included."""
    (folder / "src" / "pool.py").write_text(POOL)
    (folder / "files.txt").write_text("\n".join(files))
    began = time.perf_counter()
    line = [sys.executable, "-I", str(folder / "src" / "pool.py"), str(folder / "files.txt"), str(batch)]
    subprocess.run([*line, str(folder / "bare.txt")], check=True)
    return time.perf_counter() - began


def environment(folder: Path) -> dict[str, Any]:
    """Return an environment with one small package in it, made of a wheel that is written here."""
    from tests.jobs.wheels import wheel

    wheel(folder / "wheels")
    return {"conda_file": {"dependencies": [{"pip": ["--no-index", f"--find-links {folder / 'wheels'}", "tinything"]}]}}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the step's process, of the whole job when its files are new, and when they are known."""

    step: float
    first: float
    again: float


def ours(folder: Path, rows: Path, batch: int) -> tuple[Times, Path]:
    """Return how long a step takes, and where its rows are."""
    task = {
        "type": "run_function", "code": str(folder / "src"), "entry_script": "score.py",
        "environment": environment(folder), "append_row_to": "${{outputs.scores}}",
    }  # fmt: skip
    plain = {
        "type": "parallel", "name": "score", "task": task, "input_data": "${{inputs.rows}}",
        "inputs": {"rows": {"type": "uri_folder", "path": str(rows)}}, "outputs": {"scores": {"type": "uri_file"}},
        "max_concurrency_per_instance": 2, "mini_batch_size": str(batch),
    }  # fmt: skip
    few = folder / "few"
    few.mkdir()
    (few / "a").write_text("a")
    warm = {**plain, "name": "warm", "inputs": {"rows": {"type": "uri_folder", "path": str(few)}}}
    with Workspace.open(settings=Settings(home=folder / "home", job_cpus=2)) as workspace:
        create(workspace, parallel_job_of(warm, folder))
        assert wait(workspace, "warm", seconds=120).status == "Completed"
        first = whole(workspace, parallel_job_of(plain, folder))
        again = whole(workspace, parallel_job_of({**plain, "name": "again"}, folder))
        attempt = attempt_folder(workspace.home, "again", 1)
        started = json.loads(attempt.running.read_text())["at"]
        took = json.loads(attempt.exit.read_text())["at"] - started
        return Times(took, first, again), outputs_of(workspace.home, "again") / "scores"


def whole(workspace: Workspace, job: ParallelJob) -> float:
    """Return how long a job takes from its file to its end."""
    began = time.perf_counter()
    name = create(workspace, job).name
    ended = wait(workspace, name, seconds=600)
    assert ended.status == "Completed", b"".join(stream(workspace, name))
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=10, help="files in a mini-batch")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    folder = Path(tempfile.mkdtemp(prefix="studiolo-parallel-"))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        (folder / "src").mkdir()
        (folder / "src" / "score.py").write_text(SCRIPT)
        (folder / "rows").mkdir()
        for number in range(given.files):
            (folder / "rows" / f"{number:05d}.txt").write_text(f"row {number}\n" * 20)
        files = sorted(str(path) for path in (folder / "rows").iterdir())
        slow = slowdown()
        bare = pool(folder, files, given.batch)
        times, rows = ours(folder, folder / "rows", given.batch)
        assert rows.read_text() == (folder / "bare.txt").read_text()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"| {given.files} files, {given.batch} a mini-batch, 2 processes | seconds | slowdown |\n|---|---|---|")
    print(f"| a bare process pool | {bare:.2f} | {slow:.2f} |")
    print(f"| a parallel step (promised: 1.3 times) | {times.step:.2f}, {times.step / bare:.2f} times | |")
    print(f"| the whole job: recorded, laid out, run | {times.again:.2f} | |")
    print(f"| the whole job, its files met for the first time | {times.first:.2f} | |")


if __name__ == "__main__":
    main()
