"""Studiolo: a whole GenAI and ML studio in one room. Users import only this package."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flows.promptflow import names as promptflow_names

if TYPE_CHECKING:
    from pathlib import Path

    from evals.samples import Sample as Sample
    from evals.samples import Score as Score
    from evals.scorers.registry import scorer as scorer
    from evals.tasks.task import FewShot as FewShot
    from evals.tasks.task import Limits as Limits
    from evals.tasks.task import Scoring as Scoring
    from evals.tasks.task import Task as Task
    from evals.tasks.task import task as task
    from serving.endpoints import Endpoint as Endpoint
    from serving.local import Gateway as Gateway
    from serving.rollouts.records import Rollout as Rollout
    from studiolo.ancestry import Family as Family
    from studiolo.ancestry import family as family
    from studiolo.chat import Chat as Chat
    from studiolo.chat import Measured as Measured
    from studiolo.chat import Sampling as Sampling
    from studiolo.chat import Turn as Turn
    from studiolo.chat import as_curl as as_curl
    from studiolo.chat import as_python as as_python
    from studiolo.chat import ask as ask
    from studiolo.chat import ask_again as ask_again
    from studiolo.chat import chat_models as chat_models
    from studiolo.chat import load_chat as load_chat
    from studiolo.chat import new_chat as new_chat
    from studiolo.chat import reply as reply
    from studiolo.chat import running_gateway as running_gateway
    from studiolo.chat import settle as settle
    from studiolo.endpoint_activity import Activity as Activity
    from studiolo.endpoint_activity import abort_rollout as abort_rollout
    from studiolo.endpoint_activity import activity as activity
    from studiolo.endpoint_activity import acts_of as acts_of
    from studiolo.endpoint_activity import by_minute as by_minute
    from studiolo.endpoint_activity import made_endpoint as made_endpoint
    from studiolo.endpoint_activity import made_endpoints as made_endpoints
    from studiolo.endpoint_activity import pause_rollout as pause_rollout
    from studiolo.endpoint_activity import resume_rollout as resume_rollout
    from studiolo.endpoint_activity import rollouts_of as rollouts_of
    from studiolo.evaluating import evaluate as evaluate
    from studiolo.flow_batches import decide as decide
    from studiolo.flow_batches import questions as questions
    from studiolo.flow_batches import resume_detached as resume_detached
    from studiolo.flow_shelf import FlowFolder as FlowFolder
    from studiolo.flow_shelf import flow_folder as flow_folder
    from studiolo.flow_shelf import flow_folders as flow_folders
    from studiolo.flow_shelf import promote as promote
    from studiolo.flow_trials import Trial as Trial
    from studiolo.flow_trials import load_trial as load_trial
    from studiolo.flow_trials import try_flow as try_flow
    from studiolo.run_files import Artifact as Artifact
    from studiolo.run_files import artifact as artifact
    from studiolo.run_files import artifacts as artifacts
    from studiolo.run_search import find_runs as find_runs
    from studiolo.run_search import flow_lines as flow_lines
    from studiolo.run_search import mlflow_address as mlflow_address
    from studiolo.run_search import starting_points as starting_points
    from studiolo.runnables import as_runnable as as_runnable
    from studiolo.sdk.client import Client as Client
    from studiolo.sdk.pipelines import pipeline as pipeline
    from studiolo.sdk.ports import Input as Input
    from studiolo.sdk.ports import Output as Output
    from studiolo.sdk.steps import command as command
    from studiolo.sdk.steps import load_component as load_component
    from studiolo.sdk.steps import load_job as load_job
    from workspace.assets import Asset as Asset
    from workspace.errors import Conflict as Conflict
    from workspace.errors import Denied as Denied
    from workspace.errors import Invalid as Invalid
    from workspace.errors import MissingExtra as MissingExtra
    from workspace.errors import NotFound as NotFound
    from workspace.errors import PartialFailure as PartialFailure
    from workspace.errors import StudioloError as StudioloError
    from workspace.errors import Unavailable as Unavailable
    from workspace.home import Workspace as Workspace
    from workspace.runs import Run as Run
    from workspace.runs import RunRecord as RunRecord
    from workspace.settings import Settings as Settings

# Where each public name lives; it is imported when it is first used.
_HOMES = {
    "Activity": "studiolo.endpoint_activity",
    "Artifact": "studiolo.run_files",
    "Asset": "workspace.assets",
    "Chat": "studiolo.chat",
    "Client": "studiolo.sdk.client",
    "Conflict": "workspace.errors",
    "Denied": "workspace.errors",
    "Endpoint": "serving.endpoints",
    "Family": "studiolo.ancestry",
    "FewShot": "evals.tasks.task",
    "FlowFolder": "studiolo.flow_shelf",
    "Gateway": "serving.local",
    "Input": "studiolo.sdk.ports",
    "Invalid": "workspace.errors",
    "Limits": "evals.tasks.task",
    "Measured": "studiolo.chat",
    "MissingExtra": "workspace.errors",
    "NotFound": "workspace.errors",
    "Output": "studiolo.sdk.ports",
    "PartialFailure": "workspace.errors",
    "Rollout": "serving.rollouts.records",
    "Run": "workspace.runs",
    "RunRecord": "workspace.runs",
    "Sample": "evals.samples",
    "Sampling": "studiolo.chat",
    "Score": "evals.samples",
    "Scoring": "evals.tasks.task",
    "Settings": "workspace.settings",
    "StudioloError": "workspace.errors",
    "Task": "evals.tasks.task",
    "Trial": "studiolo.flow_trials",
    "Turn": "studiolo.chat",
    "Unavailable": "workspace.errors",
    "Workspace": "workspace.home",
    "abort_rollout": "studiolo.endpoint_activity",
    "activity": "studiolo.endpoint_activity",
    "acts_of": "studiolo.endpoint_activity",
    "artifact": "studiolo.run_files",
    "artifacts": "studiolo.run_files",
    "as_curl": "studiolo.chat",
    "as_python": "studiolo.chat",
    "as_runnable": "studiolo.runnables",
    "ask": "studiolo.chat",
    "ask_again": "studiolo.chat",
    "by_minute": "studiolo.endpoint_activity",
    "chat_models": "studiolo.chat",
    "command": "studiolo.sdk.steps",
    "decide": "studiolo.flow_batches",
    "evaluate": "studiolo.evaluating",
    "family": "studiolo.ancestry",
    "find_runs": "studiolo.run_search",
    "flow_folder": "studiolo.flow_shelf",
    "flow_folders": "studiolo.flow_shelf",
    "flow_lines": "studiolo.run_search",
    "load_chat": "studiolo.chat",
    "load_component": "studiolo.sdk.steps",
    "load_job": "studiolo.sdk.steps",
    "load_trial": "studiolo.flow_trials",
    "made_endpoint": "studiolo.endpoint_activity",
    "made_endpoints": "studiolo.endpoint_activity",
    "mlflow_address": "studiolo.run_search",
    "new_chat": "studiolo.chat",
    "pause_rollout": "studiolo.endpoint_activity",
    "pipeline": "studiolo.sdk.pipelines",
    "promote": "studiolo.flow_shelf",
    "questions": "studiolo.flow_batches",
    "reply": "studiolo.chat",
    "resume_detached": "studiolo.flow_batches",
    "resume_rollout": "studiolo.endpoint_activity",
    "rollouts_of": "studiolo.endpoint_activity",
    "running_gateway": "studiolo.chat",
    "scorer": "evals.scorers.registry",
    "settle": "studiolo.chat",
    "starting_points": "studiolo.run_search",
    "task": "evals.tasks.task",
    "try_flow": "studiolo.flow_trials",
}


promptflow_names.install()


def open_workspace(where: Path | str | None = None) -> Workspace:
    """Open the workspace in a folder (or at a PostgreSQL URL); without one, the workspace of the settings."""
    from workspace.home import Workspace

    return Workspace.open(where)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'studiolo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_HOMES, "open_workspace"]
