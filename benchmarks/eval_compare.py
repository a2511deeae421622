"""How long a comparison of two runs of 100,000 samples takes, with 10,000 draws: statistics, and the whole command."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from evals.compare import compare
from evals.samples import LOG, Sample, Score, as_line, row_id
from evals.score import SCORED_RUN
from workspace import Workspace


def samples(count: int, *, seed: int, kind: str) -> list[Sample]:
    """Return a run over the same rows, whose scores are passes and failures, grades, or grades in clusters."""
    chance = np.random.default_rng(seed)
    rows = np.random.default_rng(1).random(count)
    scores = np.clip(rows + chance.normal(0, 0.2, count), 0, 1)
    values = (scores > 0.3).astype(float) if kind == "rates" else scores
    found = []
    for number, value in enumerate(values.tolist()):
        inputs = {"question": f"What is {number} + {number}?"}
        found.append(
            Sample(
                number=number,
                row=row_id(inputs),
                inputs=inputs,
                name=f"q{number}",
                answer=str(2 * number),
                expected=str(2 * number),
                scores={"score": Score(value=value)},
                cluster=f"document {number // 20}" if kind == "clusters" else None,
            )
        )
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--samples", type=int, default=100_000)
    count = options.parse_args().samples
    for kind in ("rates", "grades", "clusters"):
        before, after = (samples(count, seed=seed, kind=kind) for seed in (2, 3))
        started, worked = time.perf_counter(), time.process_time()
        compared = compare(before, after)
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
        told = f"{seconds:.2f} s, {worked:.2f} s of CPU ({compared.measured.change.method})"
        print(f"{kind}: statistics {told}", flush=True)
        with tempfile.TemporaryDirectory() as home:
            whole(Path(home), before, after, kind)


def whole(home: Path, before: list[Sample], after: list[Sample], kind: str) -> None:
    """Measure `studiolo eval compare` of two runs that lie in a workspace."""
    environment = os.environ | {"STUDIOLO_HOME": str(home)}
    with Workspace.open(home) as workspace:
        for name, found in (("before", before), ("after", after)):
            with workspace.run("flow", name=name) as run:
                pass
            with workspace.run(
                "eval", name=f"{name}-scored", tags={SCORED_RUN: run.run_id}, params={"run": name}
            ) as run:
                (run.directory / LOG).write_text("".join(map(as_line, found)))
    command = [str(Path(sys.executable).with_name("studiolo")), "eval", "compare", "before-scored", "after-scored"]
    started, earlier = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=environment, capture_output=True)
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = used.ru_utime + used.ru_stime - earlier.ru_utime - earlier.ru_stime
    told = f"{seconds:.2f} s, {worked:.2f} s of CPU, at most {used.ru_maxrss / 1024:,.0f} MB"
    print(f"{kind}: whole command {told}", flush=True)


if __name__ == "__main__":
    main()
