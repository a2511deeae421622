"""From the files of batch endpoints and deployments to records: content becomes assets, packages are installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from jobs.environments import Preparing
from jobs.files.plain import plain
from jobs.parents import keep
from serving import deploying, endpoint_keys, endpoints
from serving.batch.deployment_files import BatchDeploymentFile
from serving.batch.endpoint_files import BatchEndpointFile
from serving.batch.pipeline_files import DeployedPipeline, fetched, kept
from serving.batch.step_files import Step
from serving.deploying import Made
from serving.deployment_files import DeploymentFile
from serving.endpoints import Deployment, Endpoint
from workspace.errors import Conflict, NotFound, did_you_mean
from workspace.home import Workspace

BATCH = "batch"  # the property of a deployment that keeps its settings
STEP = "step"  # the property that keeps the command of a pipeline that is one
PIPELINE = "pipeline"  # the property that keeps a pipeline: its component, values and settings


def put_endpoint(workspace: Workspace, file: BatchEndpointFile) -> Endpoint:
    """Make the batch endpoint that a file describes, or bring it to what the file says."""
    before = endpoints.find(workspace, file.name)
    known = before.deployments if before else {}
    if file.default and file.default not in known:
        hint = did_you_mean(file.default, known) or "make it first, then: studiolo batch-endpoint update --set-default"
        raise NotFound(f"endpoint {file.name!r} has no deployment {file.default!r}", hint=hint)
    properties = {
        **(before.properties if before else {}),
        "auth_mode": file.auth_mode,
        "description": file.description,
        "tags": dict(file.tags),
        "properties": dict(file.properties),
    }
    if file.default is not None:
        properties["default"] = file.default
    return endpoints.put(workspace, file.name, kind="batch", properties=properties)


def deploy(
    workspace: Workspace, file: BatchDeploymentFile, *, allow_pickle: bool = False, default: bool = False
) -> Iterator[Preparing | Made]:
    """Record the deployment that a file describes; with `default` it answers where none is named.

    A model logged by MLflow needs no script; where loading it can run code, a person must have said so, as with online
    deployments.
    """
    endpoint = get(workspace, file.parts.endpoint)
    if file.step:
        yield Made(_deploy_step(workspace, file, file.step))
    elif file.pipeline:
        yield Made(_deploy_pipeline(workspace, file, file.pipeline))
    else:
        # A model without a script must be one that MLflow has logged; nothing else reads files by itself.
        engine = "script" if file.parts.code else "mlflow"
        parts = replace(file.parts, engine=engine, engine_options={BATCH: file.settings.kept()})
        yield from deploying.deploy(workspace, parts, allow_pickle=allow_pickle)
    if default:
        properties = {**endpoint.properties, "default": file.parts.name}
        endpoints.put(workspace, endpoint.name, properties=properties)


def get(workspace: Workspace, name: str) -> Endpoint:
    """Return a batch endpoint."""
    found = endpoints.get(workspace, name)
    if found.kind != "batch":
        raise Conflict(f"endpoint {name!r} is of kind {found.kind!r}", hint="studiolo endpoint, for online ones")
    return found


def chosen(workspace: Workspace, name: str, deployment: str = "") -> Deployment:
    """Return the deployment that is asked for, the default one, or the only one."""
    endpoint = get(workspace, name)
    wanted = deployment or str(endpoint.properties.get("default") or "")
    if not wanted and len(endpoint.deployments) == 1:
        return next(iter(endpoint.deployments.values()))
    if not wanted:
        what = "has several deployments and no default" if endpoint.deployments else "has no deployment"
        hint = f"studiolo batch-endpoint update -n {name} --set defaults.deployment_name=NAME"
        raise NotFound(f"endpoint {name!r} {what}", hint=hint)
    return endpoints.deployment(workspace, name, wanted)


def withdraw(workspace: Workspace, endpoint: str, name: str) -> None:
    """Remove a deployment; jobs that run go on."""
    found = get(workspace, endpoint)
    endpoints.remove_deployment(workspace, endpoint, name)
    if found.properties.get("default") == name:
        properties = {key: value for key, value in found.properties.items() if key != "default"}
        endpoints.put(workspace, endpoint, properties=properties)


def withdraw_endpoint(workspace: Workspace, name: str) -> None:
    """Remove a batch endpoint with its deployments and keys; jobs that run go on."""
    get(workspace, name)
    endpoint_keys.revoke(workspace, name)
    endpoints.remove(workspace, name)


def _deploy_pipeline(workspace: Workspace, file: BatchDeploymentFile, deployed: DeployedPipeline) -> Deployment:
    """Keep a pipeline with its code and its data as they are now."""
    from jobs.assets import components  # here: most deployments are of models

    component = replace(fetched(workspace, deployed), name=deploying.asset_name(file.parts), version=None)
    settings = {
        "component": components.register(workspace, component).ref,
        "values": {name: plain(keep(workspace, value)) for name, value in deployed.values.items()},
        "settings": kept(deployed.settings),
    }
    return _put(workspace, file.parts, engine=PIPELINE, own={PIPELINE: settings})


def _deploy_step(workspace: Workspace, file: BatchDeploymentFile, step: Step) -> Deployment:
    parts = file.parts
    told: dict[str, Any] = asdict(step)
    told["code"] = None
    if step.code:
        told["code"] = workspace.assets.put("component", f"{deploying.asset_name(parts)}-code", step.code).ref
    return _put(workspace, parts, engine="command", own={STEP: told})


def _put(workspace: Workspace, parts: DeploymentFile, *, engine: str, own: dict[str, Any]) -> Deployment:
    properties = {
        **own,
        "description": parts.description,
        "tags": dict(parts.tags),
        "properties": dict(parts.properties),
        "written": dict(parts.written),
    }
    return endpoints.put_deployment(workspace, parts.endpoint, parts.name, engine=engine, properties=properties)
