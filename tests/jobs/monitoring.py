"""What tests of monitors use: what a deployment has collected, and a run of a monitor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.files import read_schedule
from jobs.records import JobRecord
from jobs.schedules import firing, store
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG
from workspace.home import Workspace

NOON = datetime(2026, 5, 10, 12, tzinfo=UTC).timestamp()
HEAD = """\
name: {name}
tags: {{team: red}}
trigger: {{type: recurrence, frequency: day, interval: 1}}
create_monitor:
  compute: {{instance_type: standard_e4s_v3, runtime_version: "3.4"}}
  monitoring_target: {{ml_task: classification, endpoint_deployment_id: "azureml:credit:blue"}}
"""


def collect(home: Path, collection: str, day: int, rows: Sequence[Any], *, target: str = "credit/blue") -> Path:
    """Write what a deployment has collected on a day of May 2026, as the data collector writes it."""
    folder = home / "modelDataCollector" / target / collection / f"2026/05/{day:02d}/10"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "1-a.jsonl"
    with path.open("w") as file:
        for number, row in enumerate(rows):
            event = {
                "specversion": "1.0", "id": str(number), "source": f"/endpoints/{target}",
                "type": f"azureml.inference.{collection}", "datacontenttype": "application/json",
                "time": f"2026-05-{day:02d}T10:{number % 60:02d}:00.5Z", "correlationid": f"d{day}-{number}",
                "data": row if isinstance(row, dict) and collection == "response" else [row],
            }  # fmt: skip
            file.write(json.dumps(event) + "\n")
    return path


def monitored(workspace: Workspace, folder: Path, name: str, signals: str, *, status: str = "Completed") -> JobRecord:
    """Make a monitor, have it run at noon of the tenth of May, and wait for its end."""
    path = folder / f"{name}.yml"
    path.write_text(HEAD.format(name=name) + signals)
    store.put(workspace, read_schedule(path), now=NOON)
    done, _ = firing.trigger(workspace, name, now=NOON)
    job = wait(workspace, done.job, seconds=LONG)
    assert job.status == status, (job.error, b"".join(stream(workspace, job.name)))
    return job


def report_of(workspace: Workspace, job: JobRecord) -> dict[str, dict[str, Any]]:
    """Return what a run has found, by signal."""
    found = json.loads(artifact(workspace, job, "monitor.json").read_text())
    return {each["signal"]: each for each in found["signals"]}


def artifact(workspace: Workspace, job: JobRecord, name: str) -> Path:
    return workspace.home / "runs" / str(job.run_id) / "artifacts" / "outputs" / name


def values(signal: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Return what a signal has measured, by feature and metric."""
    return {(each["feature"], each["metric"]): each["value"] for each in signal["metrics"]}
