"""Asking a batch endpoint: the deployment and the input become a job of this machine, whose output becomes an asset."""

from __future__ import annotations

import re
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs import records, submit
from jobs.create import create
from jobs.files.command import NAME, CommandJob
from jobs.files.ports import Input, Output, Scalar
from jobs.files.reading import Origin
from jobs.parallel.scorers import mlflow_rows
from jobs.records import JobRecord
from serving.batch import deploying, inputs, pipelines, progress
from serving.batch.inputs import Given
from serving.batch.plan import IMAGES, OUTPUT, TABLES, BatchPlan, files_in
from serving.batch.progress import Counts, Failure
from serving.batch.settings import BatchSettings
from serving.endpoints import Deployment
from serving.engines import launch_mlflow, launch_script
from serving.engines.scoring_spec import ScoringSpec
from workspace.assets import Asset
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace

ENDPOINT, DEPLOYMENT = "batch_endpoint", "batch_deployment"  # tags of a job
PLAN = "STUDIOLO_BATCH_PLAN"  # where the job's plan is, in its environment
MOST = 1_000  # jobs that a list looks through


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What is asked of an endpoint. Numbers that are given go before the deployment's own."""

    deployment: str = ""
    inputs: Mapping[str, Given] = field(default_factory=dict)
    mini_batch_size: int | None = None
    instances: int | None = None
    output_path: str = ""
    job_name: str = ""


def invoke(workspace: Workspace, endpoint: str, asked: Invocation) -> JobRecord:
    """Begin a job and return it; it goes on whatever happens to this process."""
    way = deploying.chosen(workspace, endpoint, asked.deployment)
    name = asked.job_name or f"{endpoint}-{way.name}-{secrets.token_hex(4)}"
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot name a job", hint="letters, digits, '.', '_' and '-'")
    tags = {ENDPOINT: endpoint, DEPLOYMENT: way.name}
    if way.engine == "command":
        return submit.submit(workspace, _step(workspace, way, asked, name, tags))
    if way.engine == deploying.PIPELINE:
        return create(workspace, pipelines.job_of(workspace, way, _no_numbers(asked).inputs, name=name, tags=tags))
    return submit.submit(workspace, _model(workspace, way, asked, name, tags))


def resume(workspace: Workspace, job: str) -> JobRecord:
    """Begin a job anew that has ended without being complete; mini-batches that are finished are not done again."""
    before = records.get(workspace, job)
    plan = plan_of(before)
    if plan is None:
        raise Invalid(f"job {job!r} is none of a batch deployment of a model", hint="invoke the endpoint again")
    if not before.ended or before.status == "Completed":
        raise Conflict(f"job {job!r} is {before.status}", hint="only a job that has failed or was cancelled goes on")
    name = f"{re.sub(r'-again-[0-9a-f]{4}$', '', job)}-again-{secrets.token_hex(2)}"
    again = replace(plan, job=name, output=_output(workspace, name), progress=_progress(workspace, name))
    given = {key: Input(path=value["path"]) for key, value in before.spec["inputs"].items()}
    return submit.submit(workspace, _job(workspace, again, given, before.spec["tags"]))


def jobs_of(workspace: Workspace, endpoint: str) -> list[JobRecord]:
    """Return the jobs of an endpoint, newest first."""
    deploying.get(workspace, endpoint)
    return [job for job in records.list_jobs(workspace, limit=MOST) if _tags(job).get(ENDPOINT) == endpoint]


def job_of(workspace: Workspace, endpoint: str, name: str) -> JobRecord:
    """Return a job of this endpoint."""
    job = records.get(workspace, name)
    if _tags(job).get(ENDPOINT) != endpoint:
        raise NotFound(f"endpoint {endpoint!r} has no job {name!r}")
    return job


def shown(workspace: Workspace, job: JobRecord) -> dict[str, Any]:
    """Return a job as people and scripts are shown it: how it stands, how far it is, what came out."""
    outputs = {}
    if job.status == "Completed":
        for name in job.spec["outputs"]:
            kind = "model" if job.spec["outputs"][name]["type"].endswith("_model") else "data"
            outputs[name] = workspace.assets.get(kind, f"{job.name}-{name}").ref
    tags, told = _tags(job), counts(workspace, job)
    return {
        "name": job.name,
        "endpoint_name": tags.get(ENDPOINT),
        "deployment_name": tags.get(DEPLOYMENT),
        "status": job.status,
        "exit_code": job.exit_code,
        "error": job.error,
        "counts": asdict(told) if told.files else {},
        "outputs": outputs,
        "run_id": job.run_id,
        "submitted_at": job.submitted_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def counts(workspace: Workspace, job: JobRecord) -> Counts:
    """Return how far a job over files is, as it last said; zeros where it has said nothing."""
    return progress.read(Path(_progress(workspace, job.name)))


def failures(workspace: Workspace, job: JobRecord, *, most: int = 100) -> list[Failure]:
    """Return which files have failed for good and why, in the order in which they did."""
    return progress.failures(Path(_progress(workspace, job.name)), most=most)


def plan_of(job: JobRecord) -> BatchPlan | None:
    """Return what a job over files was told; None for a pipeline."""
    kept = job.spec["environment_variables"].get(PLAN)
    return BatchPlan.read(Path(kept)) if kept else None


def names_paths(asked: Invocation) -> bool:
    """Whether it names files of this machine, which are for who owns it: others name data of the workspace."""
    return bool(asked.output_path) or any(each.path and not each.is_asset for each in asked.inputs.values())


def _model(workspace: Workspace, way: Deployment, asked: Invocation, name: str, tags: Mapping[str, str]) -> CommandJob:
    settings = BatchSettings.of(way.properties.get(deploying.BATCH) or {})
    if asked.mini_batch_size is not None:
        settings = replace(settings, mini_batch_size=asked.mini_batch_size)
    if asked.instances is not None:
        settings = replace(settings, instances=asked.instances)
    if len(asked.inputs) != 1:
        raise Invalid(f"{way.path} takes one input, not {len(asked.inputs)}", hint="--input PATH or azureml:NAME:1")
    source = inputs.data(workspace, endpoint=way.endpoint, given=next(iter(asked.inputs.values())))
    place = workspace.assets.path(source)
    _check_files(way, place)
    plan = BatchPlan(
        job=name,
        source=str(place),
        spec=_spec(workspace, way, name),
        settings=settings,
        work=str(_work(workspace, name)),
        output=_output(workspace, name),
        progress=_progress(workspace, name),
        copy_to=asked.output_path,
    )
    given = {"data": Input(path=_ref(source))}
    if way.model:
        given["model"] = Input(path=f"azureml:{way.model}")
    if code := way.properties.get("code"):
        given["code"] = Input(path=f"azureml:{code}")
    return _job(workspace, plan, given, tags)


def _job(workspace: Workspace, plan: BatchPlan, given: Mapping[str, Input], tags: Mapping[str, str]) -> CommandJob:
    kept = str(plan.write(workspace))
    return CommandJob(
        command=shlex.join([sys.executable, "-P", "-m", "serving.batch.runner", kept]),
        origin=Origin.made_in(workspace.home),
        name=plan.job,
        inputs=given,
        outputs={OUTPUT: Output()},
        environment_variables={PLAN: kept},
        tags=tags,
    )


def _spec(workspace: Workspace, way: Deployment, name: str) -> ScoringSpec:
    if way.engine == "mlflow":
        spec = launch_mlflow.spec_of_model(workspace, way, scorer=mlflow_rows.__file__)
    else:
        spec = launch_script.spec_of_script(workspace, way, scorer="batch_script_scorer.py")
    files = _work(workspace, name) / "files"
    files.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = {"AZUREML_BI_OUTPUT_PATH": str(files)}
    return replace(spec, variables={**spec.variables, **own})


def _check_files(way: Deployment, place: Path) -> None:
    files = files_in(place)
    if not files:
        raise Invalid("the input has no files")
    if way.engine != "mlflow":
        return
    for path in files:
        if Path(path).suffix.lower() not in (*TABLES, *IMAGES):
            known = ", ".join((*TABLES, *IMAGES))
            raise Invalid(f"{Path(path).name!r} is nothing a model reads without a script", hint=f"it reads {known}")


def _step(workspace: Workspace, way: Deployment, asked: Invocation, name: str, tags: Mapping[str, str]) -> CommandJob:
    step = way.properties[deploying.STEP]
    known = {each["source"] for each in step["inputs"].values()}
    for key in asked.inputs:
        if key not in known:
            raise Invalid(f"{way.path} has no input {key!r}", hint=f"it has {', '.join(sorted(known)) or 'none'}")
    _no_numbers(asked)
    code = workspace.assets.path(workspace.assets.get("component", step["code"])) if step["code"] else None
    return CommandJob(
        command=step["command"],
        origin=Origin.made_in(workspace.home),
        name=name,
        code=code,
        inputs={key: _bound(workspace, way, key, each, asked.inputs) for key, each in step["inputs"].items()},
        outputs={key: Output() for key in step["outputs"]},
        environment_variables=step["environment_variables"],
        tags=tags,
    )


def _no_numbers(asked: Invocation) -> Invocation:
    if asked.output_path or asked.mini_batch_size is not None:
        raise Invalid("a pipeline takes no mini-batch size and no output path", hint="its output becomes a data asset")
    return asked


def _bound(
    workspace: Workspace, way: Deployment, name: str, kept: Mapping[str, Any], given: Mapping[str, Given]
) -> Scalar | Input:
    found = given.get(kept["source"])
    if found is None and kept["value"] is None:
        if kept["optional"]:
            return ""
        raise Invalid(f"{way.path} needs the input {kept['source']!r}", hint=f"--set inputs.{kept['source']}.path=…")
    if not kept["is_path"]:
        value: Scalar = found.value if found and found.value is not None else kept["value"]
        if value is None:
            raise Invalid(f"input {name!r} is a value, not a path")
        return value
    data = found or Given(path=str(kept["value"]))
    return Input(path=_ref(inputs.data(workspace, endpoint=way.endpoint, given=data)))


def _ref(asset: Asset) -> str:
    return f"azureml:{asset.ref}"


def _tags(job: JobRecord) -> Mapping[str, str]:
    tags: Mapping[str, str] = job.spec.get("tags") or {}
    return tags


def _work(workspace: Workspace, name: str) -> Path:
    return submit.job_folder(workspace, name) / "work"


def _output(workspace: Workspace, name: str) -> str:
    return str(submit.job_folder(workspace, name) / "outputs" / OUTPUT)


def _progress(workspace: Workspace, name: str) -> str:
    return str(submit.job_folder(workspace, name) / "progress.json")
