"""The launch of engine `mlflow`: a model logged by MLflow, in processes of its own with the packages it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jobs import consent
from serving.endpoints import Deployment
from serving.engines import launch_script
from serving.engines.launch import Launch
from serving.engines.scoring_spec import ScoringSpec
from workspace.errors import Denied
from workspace.home import Workspace

ALLOW = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the model is served."""
    return launch_script.launched(workspace, spec_of_model(workspace, deployment, scorer="mlflow_scorer.py"))


def spec_of_model(workspace: Workspace, deployment: Deployment, *, scorer: str) -> ScoringSpec:
    """Return what runs the model; one whose format can run code only where a person allowed this very content."""
    asset = workspace.assets.get("model", deployment.model)
    spec = launch_script.spec_of(workspace, deployment, scorer=scorer)
    objection = consent.objection(Path(spec.model))
    allowed = deployment.properties.get(consent.PROPERTY) == asset.digest
    if objection and not allowed:
        hint = "studiolo deployment update --allow-pickle, if you know who made it"
        raise Denied(f"loading {asset.ref} can run code: {objection}", hint=hint)
    # MLflow's own switch stops skops too, which is harmless where the model asks to trust nothing.
    switch = allowed or consent.is_skops(Path(spec.model))
    variables = {**spec.variables, ALLOW: str(switch).lower()}
    return replace(spec, variables=variables, allow_pickle=bool(objection))
