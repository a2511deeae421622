"""The launch of engine `flow`: a flow of the workspace over HTTP, in processes of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from serving.endpoints import Deployment
from serving.engines.launch import Launch, asked, option
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import configuration_folder

OPTIONS = ("workers", "variant", "init", "environment_variables")
OVERHEAD = 150_000_000  # bytes of one process with a flow's usual libraries


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the flow is served; the models it asks are asked through the gateway."""
    found = options(deployment)
    asset = workspace.assets.get("flow", deployment.model)
    command = [sys.executable, "-P", "-m", "studiolo", "flow", "serve", "--source", str(workspace.assets.path(asset))]
    command += ["--name", asset.name]
    command += option("workers", found.get("workers", 1))
    if "variant" in found:
        command += option("variant", found["variant"])
    for name, value in _pairs(found, "init").items():
        command += ["--init", f"{name}={value}"]
    for name, value in _pairs(found, "environment_variables").items():
        command += ["--environment-variables", f"{name}={value}"]
    return Launch(
        command=command,
        memory=OVERHEAD * (1 + int(found.get("workers", 1))),
        environment=workspace.settings.environment() | {"XDG_CONFIG_HOME": str(configuration_folder().parent)},
        host="localhost",  # the flow's server lets in no other
        drain=30.0,
        loading=300.0,
    )


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine."""
    return asked(deployment.properties, OPTIONS)


def _pairs(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} of a flow deployment is a mapping, not {type(value).__name__}")
    return value
