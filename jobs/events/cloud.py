"""What has changed here as CloudEvents 1.0, under Azure ML's names, and under ours for what Azure ML does not tell."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.tables import assets, changes, deployments, endpoints, firings, jobs, rollouts

AZURE, OURS = "Microsoft.MachineLearningServices.", "Studiolo."
RUN_STATUS_CHANGED, RUN_COMPLETED = f"{AZURE}RunStatusChanged", f"{AZURE}RunCompleted"
MODEL_REGISTERED, MODEL_DEPLOYED = f"{AZURE}ModelRegistered", f"{AZURE}ModelDeployed"
DATASET_DRIFT = f"{AZURE}DatasetDriftDetected"
RUN_FAILED, RUN_CANCELED = f"{OURS}RunFailed", f"{OURS}RunCanceled"
DATA_REGISTERED, SCHEDULE_FAILED = f"{OURS}DataRegistered", f"{OURS}ScheduleFailed"
SIGNAL_BREACHED = f"{OURS}MonitorSignalBreached"
ROLLOUT_COMPLETED, ROLLOUT_ABORTED, TEST = f"{OURS}RolloutCompleted", f"{OURS}RolloutAborted", f"{OURS}Test"
TYPES = (
    RUN_STATUS_CHANGED, RUN_COMPLETED, RUN_FAILED, RUN_CANCELED, MODEL_REGISTERED, MODEL_DEPLOYED, DATASET_DRIFT,
    SIGNAL_BREACHED, DATA_REGISTERED, SCHEDULE_FAILED, ROLLOUT_COMPLETED, ROLLOUT_ABORTED, TEST,
)  # fmt: skip

_ENDED = {"Completed": RUN_COMPLETED, "Failed": RUN_FAILED, "Canceled": RUN_CANCELED}
_ROLLED = {"COMPLETED": ROLLOUT_COMPLETED, "ABORTED": ROLLOUT_ABORTED}
_TAGS = ("runTags", "ModelTags", "ServiceTags", "tags")
_TOLD = "told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that has happened; `id` is the same however often it is told."""

    type: str
    subject: str
    data: Mapping[str, Any]
    time: float
    source: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def tags(self) -> Mapping[str, Any]:
        """The tags of what it is about."""
        return next((self.data[key] for key in _TAGS if isinstance(self.data.get(key), Mapping)), {})

    def plain(self) -> dict[str, Any]:
        """Return it in CloudEvents' structured form."""
        moment = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "specversion": "1.0", "id": self.id, "source": self.source, "type": self.type, "subject": self.subject,
            "time": moment, "datacontenttype": "application/json", "data": dict(self.data),
        }  # fmt: skip


def tell(workspace: Workspace, what: str, subject: str, data: Mapping[str, Any], *, now: float) -> None:
    """Tell of something that no table shows, as a monitor does that has measured drift."""
    if what not in TYPES:
        raise Invalid(f"no event {what!r}", hint=f"known: {', '.join(TYPES)}")
    row = {"topic": _TOLD, "subject": subject, "before": what, "after": _json(data), "ts": now}
    workspace.database.transact(lambda connection: connection.execute(insert(changes).values(row)))


def events_of(connection: Connection, change: Row[Any], source: str) -> list[Event]:
    """Return the events that a change is; none where what it is about is gone."""
    return [
        Event(type=what, subject=subject, data=data, time=change.ts, source=source)
        for what, subject, data in _READ[change.topic](connection, change)
    ]


Told = list[tuple[str, str, dict[str, Any]]]


def _of_job(connection: Connection, change: Row[Any]) -> Told:
    job = connection.execute(select(jobs).filter_by(name=change.subject)).first()
    if job is None:
        return []
    experiment = job.experiment or "Default"
    subject = f"experiments/{experiment}/runs/{job.name}"
    data = {
        "experimentId": experiment, "experimentName": experiment, "runId": job.name, "runType": job.kind,
        "runTags": job.tags, "runProperties": job.properties, "runStatus": change.after,
    }  # fmt: skip
    found = [(RUN_STATUS_CHANGED, subject, data)]
    if change.after in _ENDED:
        more = {"exitCode": job.exit_code, "error": job.error} if change.after == "Failed" else {}
        found.append((_ENDED[change.after], subject, data | more))
    return found


def _of_asset(connection: Connection, change: Row[Any]) -> Told:
    kind, name, version = change.subject.split(":", 2)
    asset = connection.execute(select(assets).filter_by(kind=kind, name=name, version=version)).first()
    if asset is None:
        return []
    tags = asset.notes.get("tags") or {}
    if kind == "model":
        told = {"ModelName": name, "ModelVersion": version, "ModelTags": tags, "ModelProperties": asset.properties}
        return [(MODEL_REGISTERED, f"models/{name}:{version}", told)]
    told = {"name": name, "version": version, "size": asset.size, "tags": tags, "properties": asset.properties}
    return [(DATA_REGISTERED, f"data/{name}:{version}", told)]


def _of_deployment(connection: Connection, change: Row[Any]) -> Told:
    endpoint, name = change.subject.split("/", 1)
    found = connection.execute(select(deployments).filter_by(endpoint=endpoint, name=name)).first()
    if found is None:
        return []
    properties = connection.scalar(select(endpoints.c.properties).filter_by(name=endpoint)) or {}
    data = {
        "ServiceName": endpoint, "DeploymentName": name, "ServiceComputeType": "local",
        "ModelIds": found.model.removeprefix("model:"), "ServiceTags": properties.get("tags") or {},
        "ServiceProperties": {"engine": found.engine},
    }  # fmt: skip
    return [(MODEL_DEPLOYED, f"endpoints/{endpoint}", data)]


def _of_rollout(connection: Connection, change: Row[Any]) -> Told:
    found = connection.execute(select(rollouts).filter_by(id=change.subject)).first()
    if found is None or change.after not in _ROLLED:
        return []
    data = {"rolloutId": found.id, "ServiceName": found.endpoint, "DeploymentName": found.deployment,
            "reason": found.reason}  # fmt: skip
    return [(_ROLLED[change.after], f"endpoints/{found.endpoint}", data)]


def _of_firing(connection: Connection, change: Row[Any]) -> Told:
    schedule, key = change.subject.split("/", 1)
    found = connection.execute(select(firings).filter_by(schedule=schedule, key=key)).first()
    if found is None:
        return []
    data = {"schedule": schedule, "due": found.due, "cause": found.cause, "error": found.error}
    return [(SCHEDULE_FAILED, f"schedules/{schedule}", data)]


def _of_told(_: Connection, change: Row[Any]) -> Told:
    return [(change.before, change.subject, json.loads(change.after))]


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(dict(data))


_READ = {
    "job": _of_job, "asset": _of_asset, "deployment": _of_deployment, "rollout": _of_rollout, "firing": _of_firing,
    _TOLD: _of_told,
}  # fmt: skip
