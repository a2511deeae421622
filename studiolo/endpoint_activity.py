"""What an endpoint has done lately: requests, failures, times and speed of each deployment, from the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass

from serving import endpoints
from serving.endpoints import Endpoint
from serving.rollouts import records
from serving.rollouts.records import Rollout
from workspace.audit import AuditRecord
from workspace.home import Workspace

HOUR = 3600.0

_WAYS = """
SELECT deployment, count(*),
    count(*) FILTER (status >= 500 OR status = 429 OR error IN ('engine_failed', 'timeout')),
    quantile_cont(TRY_CAST(payload->>'first_byte_ms' AS DOUBLE), 0.5),
    quantile_cont(TRY_CAST(payload->>'first_byte_ms' AS DOUBLE), 0.95),
    sum(prompt_tokens), sum(completion_tokens), sum(TRY_CAST(payload->>'cost' AS DOUBLE))
FROM requests WHERE ts >= to_timestamp({since}) AND deployment IS NOT NULL
    AND coalesce(payload->>'mirror', 'false') = 'false'
GROUP BY deployment ORDER BY deployment
"""
_MINUTES = """
SELECT time_bucket(INTERVAL '1 minute', ts), deployment, count(*)
FROM requests WHERE ts >= to_timestamp({since}) AND deployment IS NOT NULL
GROUP BY ALL ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One deployment ("endpoint/name") in a span of time; times are milliseconds to the first byte."""

    deployment: str
    requests: int
    failed: int
    first_byte: float | None
    first_byte_95: float | None
    prompt_tokens: int
    completion_tokens: int
    cost: float

    @property
    def failing(self) -> float:
        """The share of requests that failed."""
        return self.failed / self.requests if self.requests else 0.0


def made_endpoints(workspace: Workspace) -> list[Endpoint]:
    """Return the online endpoints that somebody made, by name; models under their own name are not among them."""
    return endpoints.listed(workspace, kind="online")


def made_endpoint(workspace: Workspace, name: str) -> Endpoint:
    """Return one of them; NotFound where there is none."""
    return endpoints.get(workspace, name)


def activity(workspace: Workspace, *, seconds: float = HOUR) -> dict[str, Activity]:
    """Return what each deployment did lately, by its path."""
    workspace.spool.ingest()
    rows = workspace.sql(_WAYS.format(since=int(time.time() - seconds))).rows
    return {
        row[0]: Activity(
            deployment=row[0], requests=row[1], failed=row[2], first_byte=row[3], first_byte_95=row[4],
            prompt_tokens=int(row[5] or 0), completion_tokens=int(row[6] or 0), cost=float(row[7] or 0.0),
        )
        for row in rows
    }  # fmt: skip


def by_minute(workspace: Workspace, endpoint: str, *, seconds: float = HOUR) -> list[tuple[float, str, int]]:
    """Return how many requests each deployment of an endpoint had in each minute: (minute, deployment, requests)."""
    rows = workspace.sql(_MINUTES.format(since=int(time.time() - seconds))).rows
    return [(row[0], row[1].partition("/")[2], row[2]) for row in rows if row[1].partition("/")[0] == endpoint]


def rollouts_of(workspace: Workspace, endpoint: str) -> list[Rollout]:
    """Return the rollouts of an endpoint, newest first."""
    return records.listed(workspace, endpoint=endpoint)


def acts_of(workspace: Workspace, endpoint: str, *, most: int = 20) -> list[AuditRecord]:
    """Return what was done to an endpoint, its deployments and rollouts, newest first."""
    subjects = {f"rollout:{each.id}" for each in rollouts_of(workspace, endpoint)}
    mine = [
        act
        for act in workspace.audit.list(limit=1_000)
        if act.subject in subjects or act.subject.partition(":")[2].partition("/")[0] == endpoint
    ]
    return mine[:most]


def pause_rollout(workspace: Workspace, identifier: str) -> Rollout:
    """Pause a rollout by hand."""
    return records.pause(workspace, records.get(workspace, identifier), "by hand")


def resume_rollout(workspace: Workspace, identifier: str) -> Rollout:
    """Go on with a rollout."""
    return records.resume(workspace, records.get(workspace, identifier))


def abort_rollout(workspace: Workspace, identifier: str) -> Rollout:
    """Abort a rollout by hand."""
    return records.abort(workspace, records.get(workspace, identifier), "by hand")
