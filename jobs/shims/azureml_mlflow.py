"""MLflow's addresses that begin with `azureml:`, as `azureml-mlflow` gives them: they lead to the run's own server."""

from __future__ import annotations

import importlib
import os
from typing import Any


def tracking(store_uri: Any = None, artifact_uri: Any = None, **_: Any) -> Any:  # noqa: ARG001
    """Return the store of runs."""
    return _rest("mlflow.store.tracking.rest_store")


def registry(store_uri: Any = None, tracking_uri: Any = None, **_: Any) -> Any:  # noqa: ARG001
    """Return the store of registered models."""
    return _rest("mlflow.store.model_registry.rest_store")


def _rest(module: str) -> Any:
    uri = os.environ.get("STUDIOLO_TRACKING_URI", "")
    if not uri:
        raise RuntimeError("this script is no run of a job: there is no server behind azureml://")
    utils = importlib.import_module("mlflow.utils.rest_utils")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return importlib.import_module(module).RestStore(lambda: utils.MlflowHostCreds(uri, token=token))
