"""From new rows to a model that answers: a training on them, and what it made given a little traffic, under watch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving import deploying, endpoints
from serving.deployment_files import DeploymentFile, Model
from serving.rollouts import records as rollouts
from serving.rollouts.records import Plan, Rollout
from studiolo.tuning import listing
from workspace.errors import Conflict, Invalid, Location

if TYPE_CHECKING:
    from jobs.files.command import Job
    from jobs.records import JobRecord
    from workspace import Asset
    from workspace.home import Workspace

_LONGEST = 32  # letters of a deployment's name


METHODS = {"chat": "sft", "preference": "dpo", "kto": "kto"}  # by the form of rows, where no file says it


def training_on(
    data: Asset, spec: str, overrides: tuple[tuple[str, Any], ...] = (), *, form: str = "chat",
    reason: str | None = None,
) -> Job:  # fmt: skip
    """Return the training of a file, or of a base model with every default, on rows that were just made."""
    from studiolo.tuning import files

    rows = f"azureml:{data.name}:{data.version}"
    more = (("override_contamination", reason),) if reason else ()
    if Path(spec).is_file():
        return files.read(Path(spec), (("data", rows), *more, *overrides))
    return files.made({"base": spec, "data": rows, "method": METHODS[form]}, (*more, *overrides))


def tune(workspace: Workspace, data: Asset, job: Job) -> JobRecord:
    """Begin a training; raises Denied where its rows stand in evaluation sets and it gives no reason.

    The job asks that again before its first step: here it is asked so that the person who is here learns of it.
    """
    from evals.contamination import require_clean
    from studiolo.job_making import make

    if not getattr(job, "override_contamination", None):
        require_clean(workspace, data)
    return make(workspace, job)


def canary(workspace: Workspace, training: str, endpoint: str, **careful: Any) -> Rollout:
    """Deploy what a training made beside what answers an endpoint now, and give it the first step of the traffic.

    `careful` are the fields of a rollout's plan: steps, bake, requests, alpha, guards. Where the guards see that it is
    worse it loses its traffic again.
    """
    found = listing.shown(workspace, training)
    if found["status"] != "Completed" or not found["model"]:
        hint = found["error"] or f"studiolo job stream {training}"
        raise Conflict(f"training {training!r} is {found['status']}: there is no model to deploy", hint=hint)
    model = workspace.assets.get("model", found["model"])
    endpoints.get(workspace, endpoint)
    name = f"{model.name[: _LONGEST - len(str(model.version)) - 1]}-{model.version}".strip(".-")
    plan = Plan(endpoint=endpoint, deployment=name, **careful)
    file = DeploymentFile(
        name=name, endpoint=endpoint, at=Location(Path(endpoint)), model=Model(ref=f"{model.name}:{model.version}"),
        description=f"what {training} made",
    )  # fmt: skip
    for event in deploying.deploy(workspace, file):
        if isinstance(event, deploying.Made):
            return rollouts.start(workspace, plan)
    raise Invalid(f"{model.ref} was not deployed")
