"""Jobs as people and scripts are shown them, in the words of Azure ML's command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.assets.versions import context, workspace_id
from jobs.records import JobRecord
from workspace.home import Workspace

HOST = "127.0.0.1"
# Of what a file says these are told anew.
_TOLD = (
    "name",
    "display_name",
    "description",
    "tags",
    "properties",
    "experiment_name",
    "inputs",
    "outputs",
    "services",
)


def job(workspace: Workspace, found: JobRecord) -> dict[str, Any]:
    """Return a job: what its file said, what became of it, and what it took."""
    written = dict(found.spec.get("written") or {})
    return {
        "name": found.name,
        "type": found.kind,
        "status": found.status,
        "display_name": found.display_name or found.name,
        "experiment_name": found.experiment,
        "description": found.description or "",
        **{key: value for key, value in written.items() if key not in _TOLD},
        "inputs": written.get("inputs") or {},
        "outputs": _outputs(found, written.get("outputs") or {}),
        "services": _services(workspace, found, written.get("services") or {}),
        "tags": dict(found.tags),
        "properties": dict(found.properties),
        "creation_context": context(found.submitted_at),
        "id": f"azureml:{workspace_id(workspace)}/jobs/{found.name}",
        "parent_job_name": found.parent,
        "run_id": found.run_id,
        "attempt": found.attempt,
        "retries": found.retries,
        "exit_code": found.exit_code,
        "error": found.error,
        "submitted_at": found.submitted_at,
        "started_at": found.started_at,
        "ended_at": found.ended_at,
        "usage": dict(found.usage),
    }


def words(found: JobRecord, children: Sequence[JobRecord]) -> str:
    """Return what people ask of a job first, a line each, and its children, the first one first."""
    took = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in found.usage.items())
    lines = (
        ("name", found.name), ("type", found.kind), ("status", found.status), ("exit code", found.exit_code),
        ("error", found.error), ("attempt", found.attempt or None), ("parent", found.parent), ("run", found.run_id),
        ("took", took or None), ("command", (found.spec.get("written") or {}).get("command")),
        ("outputs", ", ".join(found.spec.get("outputs") or ()) or None),
    )  # fmt: skip
    told = [f"{label:10} {value}" for label, value in lines if value is not None]
    inside = sorted(children, key=lambda child: (child.submitted_at, child.name))
    return "\n".join(told + [f"{'child':10} {child.name}  {child.status}" for child in inside])


def _outputs(found: JobRecord, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return each output with where a later job finds it; `default` is what was left in ./outputs, and the logs."""
    shown = {
        "default": {"type": "uri_folder", "mode": "rw_mount", "path": f"azureml://jobs/{found.name}/outputs/artifacts"}
    }
    for name, value in written.items():
        given = value if isinstance(value, Mapping) else {}
        path = f"azureml://jobs/{found.name}/outputs/{name}"
        shown[name] = {"type": "uri_folder", "mode": "rw_mount", "path": path} | dict(given)
    return shown


def _services(workspace: Workspace, found: JobRecord, written: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a job is looked at: the studio's page and MLflow; and what it offers itself, as its file said it."""
    settings = workspace.settings
    studio = f"http://{HOST}:{settings.studio_port}/runs?run={found.run_id}"
    tracking = settings.mlflow_tracking_uri or f"http://{HOST}:{settings.mlflow_port}"
    return dict(written) | {
        "Studio": {"type": "Studio", "endpoint": studio},
        "Tracking": {"type": "Tracking", "endpoint": tracking},
    }
