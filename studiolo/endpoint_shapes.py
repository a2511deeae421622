"""Endpoints and deployments as people and scripts are shown them, in the words of Azure ML's command line."""

from __future__ import annotations

from typing import Any

from serving import endpoint_files, replicas, service
from serving.endpoints import Deployment, Endpoint
from serving.engines.launches import KINDS
from workspace.home import Workspace

# Of what is kept with a deployment these are our own bookkeeping.
_UNSHOWN = frozenset({"written", "settings", "environment_variables", "description", "tags", "properties"})


def address(workspace: Workspace, name: str) -> str:
    """Return where an endpoint is reached: at the gateway that runs, else where one would."""
    running = service.running(workspace.home)
    port = running.port if running else workspace.settings.gateway_port
    return f"http://127.0.0.1:{port}/endpoints/{name}"


def endpoint(workspace: Workspace, found: Endpoint) -> dict[str, Any]:
    """Return an endpoint with where it is reached."""
    base = address(workspace, found.name)
    return {
        **endpoint_files.shown(found),
        "kind": found.kind,
        "scoring_uri": f"{base}/score",
        "openapi_uri": f"{base}/swagger.json",
        "provisioning_state": "Succeeded",
        "deployments": sorted(found.deployments),
    }


def deployment(workspace: Workspace, found: Deployment) -> dict[str, Any]:
    """Return a deployment with its engine and whether that runs; of variables only the names."""
    settings = found.settings
    kept = found.properties
    return {
        "name": found.name,
        "endpoint_name": found.endpoint,
        "engine": found.engine,
        "model": found.model,
        "state": state(workspace, found),
        "provisioning_state": "Succeeded",
        "instance_count": settings.instances,
        "min_instances": settings.least,
        "max_instances": settings.most,
        "request_timeout_ms": None if settings.timeout is None else int(settings.timeout * 1000),
        "max_concurrent_requests_per_instance": settings.concurrency,
        "description": kept.get("description", ""),
        "tags": kept.get("tags", {}),
        "properties": kept.get("properties", {}),
        "environment_variables": sorted(kept.get("environment_variables", {})),
        **{key: value for key, value in kept.items() if key not in _UNSHOWN},
    }


def state(workspace: Workspace, found: Deployment) -> str:
    """Return "running", "idle" (its engine starts with the first request) or "remote"."""
    if found.engine not in KINDS:
        return "remote"
    key = replicas.key_of(found)
    return "running" if any(each.group == key for each in replicas.living(workspace.home)) else "idle"
