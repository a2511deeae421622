"""Somebody else's harness: in an environment of its own, asked to measure our endpoint, and its log read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.log import opened
from evals.metrics import metrics
from evals.samples import Sample, is_error
from jobs.environments.events import Prepared, Preparing
from jobs.environments.prepare import prepare_packages
from jobs.environments.spec import Spec
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, Unavailable
from workspace.settings import cache_folder

TOLD = 12  # lines of its output that a failure repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Who is measured: an OpenAI-compatible address, its key, and what it calls the model."""

    base_url: str
    model: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A line that the harness, or the making of its environment, has printed."""

    line: str


def python_with(packages: Sequence[str]) -> Generator[Said, None, Path]:
    """Make or find an environment with these packages, and return its Python: `python = yield from python_with(…)`."""
    for event in prepare_packages(cache_folder(), Spec(packages=tuple(packages))):
        if isinstance(event, Preparing):
            yield Said(event.text)
        elif isinstance(event, Prepared):
            return event.python
    raise AssertionError("the last event is Prepared, or an error")


def run(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Iterator[Said]:
    """Run the harness and pass on what it prints; Unavailable with its last lines where it fails.

    It sees our environment without our own keys, and what `environ` adds.
    """
    variables = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_TOKEN"))}
    last: list[str] = []
    with subprocess.Popen(
        list(command), cwd=folder, env=variables | dict(environ), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for line in process.stdout:
                if told := line.strip():
                    last = [*last[1 - TOLD :], told]
                    yield Said(told)
        except BaseException:
            os.killpg(process.pid, 15)
            raise
    if process.returncode:
        told = "\n  ".join(last)
        raise Unavailable(f"{Path(command[0]).name} ended with {process.returncode}:\n  {told}", hint="read its words")


def record(
    workspace: Workspace, samples: Sequence[Sample], *, name: str | None, harness: str, task: str, endpoint: Endpoint
) -> RunRecord:
    """Keep what a harness found as a run of kind "eval", to be shown, compared and gated like our own."""
    if not samples:
        raise Invalid(f"{harness} has scored nothing of {task!r}", hint="check the task's name and its data")
    scorers = dict.fromkeys(scorer for sample in samples for scorer in sample.scores)
    params = {
        "task": task, "harness": harness, "target": endpoint.model, "scorers": ",".join(scorers),
        "epochs": max(sample.epoch for sample in samples), "reduce": "mean",
        "rows": len({sample.row for sample in samples}),
    }  # fmt: skip
    with workspace.run("eval", name=name, params=params) as run:
        with opened(run.directory) as log:
            for sample in samples:
                log.add(sample)
        found = metrics(samples)
        run.log_metrics({metric.name: metric.interval.estimate for metric in found})
        run.log_metrics({"samples": float(len(samples)), "errors": float(sum(map(is_error, samples)))})
        if not found:
            run.fail("no sample could be scored")
    return workspace.runs.get(run.run_id)
