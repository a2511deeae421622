"""Models that runs have left, in MLflow's registry: each asset is one version, beside the run that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workspace.home import Workspace

MODEL = "studiolo.model"  # the tag of a run that names the model which a training has left
ASSET = "studiolo.asset"  # the tag of MLflow's version that names ours


def register(workspace: Workspace, uri: str, theirs: str, reference: str) -> None:
    """Make a version in MLflow of the model that `reference` names, unless there is one of it already."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    asset = workspace.assets.get("model", reference)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        client.create_registered_model(asset.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{asset.name}'")
    if any(version.tags.get(ASSET) == asset.ref for version in known):
        return
    told = {key: str(asset.properties[key]) for key in ("base", "base_digest", "method", "task", "license")
            if key in asset.properties}  # fmt: skip
    tags = {ASSET: asset.ref, "studiolo.digest": asset.digest, **{f"studiolo.{key}": told[key] for key in told}}
    client.create_model_version(asset.name, workspace.assets.path(asset).as_uri(), run_id=theirs, tags=tags)
