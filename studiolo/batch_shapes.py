"""Batch endpoints and deployments as people and scripts are shown them, in the words of Azure ML's command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import endpoints as records
from serving import yaml_values
from serving.batch import deploying, endpoint_files
from serving.batch import inputs as batch_inputs
from serving.batch.inputs import Given
from serving.batch.settings import BatchSettings
from serving.endpoints import Deployment, Endpoint
from studiolo.endpoint_shapes import address
from workspace.documents import Document
from workspace.errors import Invalid
from workspace.home import Workspace


def endpoints(workspace: Workspace) -> list[Endpoint]:
    """Return the batch endpoints."""
    return records.listed(workspace, kind="batch")


def endpoint(workspace: Workspace, found: Endpoint) -> dict[str, Any]:
    """Return a batch endpoint with where it is asked."""
    return {
        **endpoint_files.shown(found),
        "kind": found.kind,
        "invoke_uri": f"{address(workspace, found.name)}/jobs",
        "provisioning_state": "Succeeded",
        "deployments": sorted(found.deployments),
    }


def deployment(found: Deployment) -> dict[str, Any]:
    """Return a batch deployment with its settings; of variables only the names."""
    kept = found.properties
    shown = {
        "name": found.name,
        "endpoint_name": found.endpoint,
        "type": "pipeline" if found.engine == "command" else "model",
        "engine": found.engine,
        "model": found.model,
        "description": kept.get("description", ""),
        "tags": kept.get("tags", {}),
        "provisioning_state": "Succeeded",
    }
    if found.engine == "command":
        step = kept[deploying.STEP]
        return shown | {"command": step["command"], "inputs": sorted(step["inputs"]), "outputs": list(step["outputs"])}
    settings = BatchSettings.of(kept.get(deploying.BATCH) or {}).kept()
    retries = {"max_retries": settings.pop("max_retries"), "timeout": settings.pop("timeout")}
    return shown | {
        "instance_count": settings.pop("instances"),
        **settings,
        "retry_settings": retries,
        "scoring_script": kept.get("scoring_script", ""),
        "environment_variables": sorted(kept.get("environment_variables", {})),
    }


def inputs(file: Path | None, changes: Mapping[str, str], *, path: str, kind: str) -> dict[str, Given]:
    """Return the inputs that a command line names: one by --input, several by a file or `--set inputs.x.path=…`."""
    if path:
        if file or changes:
            raise Invalid("give the input once", hint="--input PATH, or --file and --set")
        return {"data": Given(path=path.removeprefix("file:"), type=kind)}
    if file:
        return batch_inputs.read(yaml_values.read(file, changes))
    here = Document(Path.cwd() / "<--set>", {})
    return batch_inputs.read(yaml_values.changed(here, changes))
