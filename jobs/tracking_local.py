"""What a job asks MLflow about its own run, answered at the job's own port: no server is waited for.

Metrics, parameters and tags go into the workspace's records, where a sweep hears them at once, and are carried into
MLflow as all runs are. What is not about the job's own run, and models, are for the server.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jobs import run_log
from jobs.run_log import Point
from jobs.spec import Spec
from workspace.errors import NotFound, StudioloError, Unavailable
from workspace.light_database import LightDatabase, from_json
from workspace.run_names import reserved_experiment
from workspace.settings import Settings

_API = "/mlflow/"
_NAME = "mlflow.runName"
LARGEST = 10_000_000  # bytes of a request that is read here


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as MLflow's clients expect it."""

    status: int
    body: Mapping[str, Any]


class OwnRun:
    """The run of one job, as MLflow's clients see it."""

    def __init__(self, settings: Settings, spec: Spec, database: LightDatabase) -> None:
        self._settings = settings
        self._spec = spec
        self._database = database
        self._writers: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "runs/log-metric": self._log_metric,
            "runs/log-batch": self._log_batch,
            "runs/log-parameter": self._log_parameter,
            "runs/set-tag": self._set_tag,
            "runs/delete-tag": self._delete_tag,
            "runs/update": self._update,
        }

    def is_writer(self, method: str, path: str) -> bool:
        """Whether a request may be one that writes to a run, so that its body must be read to know."""
        return method == "POST" and _route(path) in self._writers

    def write(self, path: str, body: bytes) -> Answer | None:
        """Do what a request asks; None where it is about another run."""
        try:
            asked = json.loads(body)
            if (asked.get("run_id") or asked.get("run_uuid")) != self._spec.run_id:
                return None
            return Answer(200, self._writers[_route(path)](asked))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            return _refused(400, "INVALID_PARAMETER_VALUE", f"the request cannot be read: {problem!r}")
        except Unavailable as problem:
            return _refused(503, "TEMPORARILY_UNAVAILABLE", str(problem))
        except StudioloError as problem:
            told = f"{problem}; {problem.hint}" if problem.hint else str(problem)
            return _refused(400, "INVALID_PARAMETER_VALUE", told)

    def read(self, path: str) -> Answer | None:
        """Answer a question about the run or its experiment; None where that is for the server."""
        if self._settings.mlflow_tracking_uri or not self._spec.experiment:
            return None  # what experiments are called there, only the server knows
        asked = {key: values[-1] for key, values in parse_qs(urlsplit(path).query).items()}
        route = _route(path)
        if route == "runs/get" and self._spec.run_id in (asked.get("run_id"), asked.get("run_uuid")):
            return Answer(200, {"run": self._run()})
        own = (asked.get("experiment_name"), asked.get("experiment_id"))
        if route == "experiments/get-by-name" and own[0] == self._spec.experiment:
            return Answer(200, {"experiment": self._experiment()})
        if route == "experiments/get" and own[1] == self._experiment_id():
            return Answer(200, {"experiment": self._experiment()})
        return None

    def _log_metric(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        run_log.log(self._database, self._spec.run_id, points=[_point(asked)])
        return {}

    def _log_batch(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        run_log.log(
            self._database, self._spec.run_id,
            points=[_point(each) for each in asked.get("metrics") or ()],
            params={each["key"]: str(each["value"]) for each in asked.get("params") or ()},
            tags={each["key"]: str(each["value"]) for each in asked.get("tags") or ()},
        )  # fmt: skip
        return {}

    def _log_parameter(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        run_log.log(self._database, self._spec.run_id, params={asked["key"]: str(asked["value"])})
        return {}

    def _set_tag(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        run_log.log(self._database, self._spec.run_id, tags={asked["key"]: str(asked["value"])})
        return {}

    def _delete_tag(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        run_log.log(self._database, self._spec.run_id, tags={asked["key"]: None})
        return {}

    def _update(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take a new name. How the run ends is how the job ends, whatever a client says."""
        if asked.get("run_name"):
            run_log.log(self._database, self._spec.run_id, tags={_NAME: str(asked["run_name"])})
        return {"run_info": self._run()["info"]}

    def _run(self) -> Mapping[str, Any]:
        rows = self._database.rows("SELECT * FROM runs WHERE run_id = :run", run=self._spec.run_id)
        if not rows:
            raise NotFound(f"no run {self._spec.run_id!r}")
        row = rows[0]
        tags = {_NAME: row["name"], **from_json(row["tags"])}
        artifacts = self._settings.home / "runs" / self._spec.run_id / "artifacts"
        info = {
            "run_id": row["run_id"], "run_uuid": row["run_id"], "run_name": tags[_NAME], "status": "RUNNING",
            "experiment_id": self._experiment_id(), "start_time": round(row["started_at"] * 1000),
            "artifact_uri": artifacts.as_uri(), "lifecycle_stage": "active", "user_id": "",
        }  # fmt: skip
        data = {
            "params": [{"key": key, "value": str(value)} for key, value in from_json(row["params"]).items()],
            "tags": [{"key": key, "value": str(value)} for key, value in tags.items()],
            "metrics": self._last_metrics(),
        }
        return {"info": info, "data": data, "inputs": {}, "outputs": {}}

    def _last_metrics(self) -> list[Mapping[str, Any]]:
        query = "SELECT key, step, value, ts FROM metrics WHERE run_id = :run ORDER BY step, id"
        last = {row["key"]: row for row in self._database.rows(query, run=self._spec.run_id)}
        return [
            {
                "key": key, "step": row["step"], "timestamp": round(row["ts"] * 1000),
                "value": "NaN" if row["value"] is None else row["value"],
            }
            for key, row in last.items()
        ]  # fmt: skip

    def _experiment(self) -> Mapping[str, Any]:
        number = self._experiment_id()
        place = (self._settings.home / "mlartifacts" / number).as_uri()
        return {
            "experiment_id": number, "name": self._spec.experiment, "artifact_location": place,
            "lifecycle_stage": "active", "creation_time": round(time.time() * 1000),
        }  # fmt: skip

    def _experiment_id(self) -> str:
        """Return the id that the experiment has in MLflow, or will have once the run is carried there."""
        return _known_experiment(self._settings.home / "mlflow.db", self._spec.experiment) or str(
            reserved_experiment(self._spec.experiment)
        )


def _known_experiment(path: Path, name: str) -> str | None:
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            row = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    except sqlite3.OperationalError:
        return None  # its tables are not there yet
    return None if row is None else str(row[0])


def _point(asked: Mapping[str, Any]) -> Point:
    at = float(asked.get("timestamp") or 0) / 1000 or time.time()
    return Point(str(asked["key"]), float(asked["value"]), int(asked.get("step") or 0), at)


def _route(path: str) -> str:
    """Return what is asked for: `_route("/api/2.0/mlflow/runs/get?run_id=1") == "runs/get"`."""
    return urlsplit(path).path.partition(_API)[2]


def _refused(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error_code": code, "message": message})
