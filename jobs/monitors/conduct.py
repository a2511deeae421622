"""The process of a run of a monitor, `python -m jobs.monitors.conduct NAME`: it measures, keeps it, and tells."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs import run_log
from jobs.events import cloud
from jobs.files.loading import start_made
from jobs.files.monitor import Alert, Monitor
from jobs.files.record import Record
from jobs.monitors import frames, report
from jobs.monitors.job import signals_of
from jobs.monitors.measures import FAILED, Result, words
from jobs.monitors.sides import Sides, subject_of
from jobs.monitors.signals import measure
from jobs.parents import Family, lead
from workspace.errors import PartialFailure

OUTPUTS = Path("outputs")  # of the folder that the process runs in: kept as the run's artifacts
PAGE, JSON = OUTPUTS / "monitor.html", OUTPUTS / "monitor.json"
BREACHED = "azureml_modelmonitor_threshold_breached"  # the tag that Azure ML gives to such runs
DRIFTS = ("data_drift", "prediction_drift", "feature_attribution_drift")
_NO_NAME = re.compile(r"[^\w.\-: ]")
_LONGEST = 90  # letters of a feature in the name of a metric


def work(family: Family) -> None:
    """Measure what a monitor says, once."""
    written = family.written
    place = start_made(written, Path(family.spec.folder)).under("monitor")
    monitor: Monitor = Record(Monitor).read(place, written["monitor"])
    schedule, at = str(written["schedule"]), float(written["at"])
    results: list[Result] = []
    with frames.open_database() as database:
        sides = Sides(family, database, monitor, at=at, size=float(written["size"]))
        for name, signal in signals_of(monitor).items():
            family.heed()
            results.append(measure(sides, name, signal))
            _say(results[-1])
    title = report.heading(monitor=schedule, job=family.job.name, at=at, target=subject_of(monitor, schedule))
    OUTPUTS.mkdir(exist_ok=True)
    JSON.write_text(report.to_json(title, results))
    PAGE.write_text(report.page(title, results))
    _log(family, results)
    _tell(family, title, monitor, results)
    failed = [each for each in results if each.status == FAILED]
    if failed:
        told = "; ".join(f"{each.signal}: {each.why}" for each in failed)
        raise PartialFailure(f"{len(failed)} of {len(results)} signals could not be measured: {told}")


def _say(result: Result) -> None:
    print(words(result), flush=True)  # noqa: T201  the log of the job
    for note in result.found.notes:
        print(f"  {note}", flush=True)  # noqa: T201


def _log(family: Family, results: Sequence[Result]) -> None:
    """Keep what was found as metrics of the run: SIGNAL/FEATURE/METRIC, and how many are past their threshold."""
    now = time.time()
    points = []
    for result in results:
        for each in result.found.measures:
            if each.value is None:
                continue
            key = "/".join(part for part in map(_word, (result.signal, each.feature, each.metric)) if part)
            points.append(run_log.Point(key, each.value, 0, now))
            if each.threshold is not None:
                points.append(run_log.Point(f"{key}/threshold", each.threshold, 0, now))
        points.append(run_log.Point(f"{_word(result.signal)}/breached", float(len(result.breached)), 0, now))
    tags = {f"signal.{_word(each.signal)}": each.status for each in results}
    if past := [each for each in results if each.breached]:
        tags[BREACHED] = "; ".join(words(each) for each in past)
    run_log.log(family.workspace.light, family.spec.run_id, points=points, tags=tags)


def _tell(family: Family, title: dict[str, Any], monitor: Monitor, results: Sequence[Result]) -> None:
    """Tell of each signal that is past a threshold, where it says that it alerts."""
    for result in results:
        if not result.breached or not result.alerts:
            continue
        what = cloud.DATASET_DRIFT if result.type in DRIFTS else cloud.SIGNAL_BREACHED
        subject = f"monitors/{title['monitor']}/signals/{result.signal}"
        cloud.tell(family.workspace, what, subject, _event(family, title, result), now=time.time())
    if isinstance(monitor.alert_notification, Alert) and any(each.breached and each.alerts for each in results):
        print("no mail is sent from here: an event rule tells a webhook or a command", flush=True)  # noqa: T201


def _event(family: Family, title: dict[str, Any], result: Result) -> dict[str, Any]:
    """Return what an event says: the words of Azure ML's drift event, and what was measured."""
    production = next((side for key, side in result.sides.items() if key.startswith("production")), {})
    worst = max(result.breached, key=lambda each: abs((each.value or 0.0) - (each.threshold or 0.0)))
    return {
        "DataDriftId": title["monitor"], "DataDriftName": title["monitor"], "RunId": title["job"],
        "BaseDatasetId": result.sides.get("reference_data", {}).get("source"),
        "TargetDatasetId": production.get("source"), "DriftCoefficient": worst.value,
        "StartTime": production.get("from"), "EndTime": production.get("to"), "target": title["target"],
        "signal": result.signal, "signalType": result.type, "tags": dict(family.job.tags),
        "metrics": [each.plain() for each in result.breached],
    }  # fmt: skip


def _word(text: str) -> str:
    return _NO_NAME.sub("_", text)[:_LONGEST].strip(".") or ("_" if text else "")


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
