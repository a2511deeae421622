"""What an AutoML job writes down while it searches: a run for each trial, metrics of its own run, the report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import run_log
from workspace.errors import NotFound

if TYPE_CHECKING:
    from finetune.automl.search import Began, Event, Found
    from finetune.automl.trial import Outcome
    from jobs.parents import Family

OUTPUTS = Path("outputs")  # of the folder that the process runs in: kept as the run's artifacts


def record(family: Family, outcome: Outcome, metric: str, best: float | None) -> float | None:
    """Keep a trial as a run under the job's, and the best score so far as the job's metric; return that."""
    from finetune.automl import metrics

    better = outcome.status == "Completed" and outcome.score is not None
    if better and best is not None:
        better = outcome.score > best if metrics.is_maximized(metric) else outcome.score < best  # type: ignore[operator]
    best = outcome.score if better else best
    name = f"{family.job.name}_{outcome.number}"
    if _is_recorded(family, name):
        return best
    params = {"algorithm": outcome.called, **outcome.params}
    tags = {"mlflow.parentRunId": family.spec.run_id, "studiolo.job": family.job.name}
    with family.workspace.run("trial", name=name, params=params, tags=tags) as run:
        if outcome.metrics:
            run.log_metrics(outcome.metrics)
        elif outcome.score is not None:
            run.log_metrics({metric: outcome.score})
        run.log_metrics({"fit_seconds": outcome.seconds})
        if outcome.error:
            run.fail(outcome.error)
    said = "no score" if outcome.score is None else f"{metric} {outcome.score:.6g}"
    why = f" ({outcome.error})" if outcome.error else ""
    say(f"trial {outcome.number} {outcome.called} {outcome.status}: {said} in {outcome.seconds:.1f} s{why}")
    if best is not None:
        point = run_log.Point(metric, best, outcome.number, time.time())
        run_log.log(family.workspace.light, family.spec.run_id, points=[point])
    return best


def _is_recorded(family: Family, name: str) -> bool:
    """Whether a trial's run is there; one that was killed while it was written is taken as it is."""
    try:
        family.workspace.runs.get(name)
    except NotFound:
        return False
    return True


def keep_told(family: Family, told: Mapping[str, Any]) -> None:
    """Leave what is told as JSON and as a page, its numbers as metrics of the run."""
    from finetune.automl.page import page

    (OUTPUTS / "automl.json").write_text(json.dumps(told, indent=1))
    (OUTPUTS / "automl.html").write_text(page(told, name=family.job.name))
    now = time.time()
    values = {f"best/{name}": value for name, value in told["best"]["metrics"].items()}
    values |= {f"test/{name}": value for name, value in told.get("test", {}).items()}
    points = [run_log.Point(name, float(value), 0, now) for name, value in values.items()]
    tags = {"best_algorithm": str(told["best"]["kind"]), "best_score": f"{told['best']['score']:.6g}"}
    run_log.log(family.workspace.light, family.spec.run_id, points=points, tags=tags)


def follow(family: Family, events: Iterator[Event], metric: str, *, began: Callable[[Began], None]) -> Found:
    """Record each trial of a search as a run of its own, say what happens, and return what was found."""
    from finetune.automl.search import Began, Found, Said, Tried

    best: float | None = None
    for event in events:
        family.heed()
        if isinstance(event, Began):
            began(event)
            if event.before:
                say(f"going on with {len(event.before)} trials that had ended before")
            for outcome in event.before:  # the last one may not have been recorded any more
                best = record(family, outcome, metric, best)
        elif isinstance(event, Said):
            say(f"warning: {event.words}")
        elif isinstance(event, Tried):
            best = record(family, event.outcome, metric, best)
        elif isinstance(event, Found):
            return event
    raise AssertionError("a search ends with what it has found")


def say(words: str) -> None:
    """Write a line into the job's log."""
    print(words, flush=True)  # noqa: T201
