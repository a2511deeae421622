"""Batch endpoints and their jobs as the studio shows them: how each job stands, how far it is, what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from jobs import records, submit
from jobs.folders import attempt_folder
from jobs.logs import tail
from jobs.records import JobRecord
from serving.batch import deploying, invoking
from serving.batch.inputs import Given
from serving.batch.progress import Counts, Failure
from serving.endpoints import Endpoint
from studiolo import batch_shapes
from studiolo.asset_files import asset_files
from studiolo.run_files import Artifact
from workspace.home import Workspace

LINES, BYTES = 400, 100_000  # of a log


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of a batch endpoint: what was given, how it stands and how far it is."""

    name: str
    endpoint: str
    deployment: str
    status: str
    exit_code: int | None
    run_id: str | None
    inputs: Mapping[str, Given]
    outputs: tuple[str, ...]
    counts: Counts
    began: float
    ended: float | None
    resumable: bool

    @property
    def share(self) -> float:
        """How much of it is done, failed files included; between 0 and 1."""
        counts = self.counts
        return (counts.files_done + counts.files_failed) / counts.files if counts.files else 0.0

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until now."""
        return (self.ended or time.time()) - self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A batch endpoint and what it does: how many jobs it has, how many go on, and the newest."""

    endpoint: Endpoint
    jobs: int
    running: int
    newest: Job | None


@dataclass(frozen=True, slots=True)
class Output:
    """What a job has put out under a name: the data asset and its files."""

    name: str
    ref: str
    files: list[Artifact]


def summaries(workspace: Workspace) -> list[Summary]:
    """Return the batch endpoints with what they do, by name."""
    mine: dict[str, list[JobRecord]] = {}
    for job in records.list_jobs(workspace, limit=invoking.MOST):
        mine.setdefault(str((job.spec.get("tags") or {}).get(invoking.ENDPOINT)), []).append(job)
    return [_summary(workspace, each, mine.get(each.name, [])) for each in batch_shapes.endpoints(workspace)]


def endpoint(workspace: Workspace, name: str) -> Endpoint:
    """Return one of them; NotFound where there is none, Conflict where it is no batch endpoint."""
    return deploying.get(workspace, name)


def default_deployment(endpoint: Endpoint) -> str:
    """Return the name of the deployment that answers where none is named; nothing where one must be."""
    wanted = str(endpoint.properties.get("default") or "")
    only = next(iter(endpoint.deployments)) if len(endpoint.deployments) == 1 else ""
    return wanted if wanted in endpoint.deployments else only


def jobs(workspace: Workspace, endpoint: str) -> list[Job]:
    """Return the jobs of a batch endpoint, newest first."""
    return [_job(workspace, job) for job in invoking.jobs_of(workspace, endpoint)]


def job(workspace: Workspace, endpoint: str, name: str) -> Job:
    """Return one job of a batch endpoint."""
    return _job(workspace, invoking.job_of(workspace, endpoint, name))


def failures(workspace: Workspace, job: Job, *, most: int = 20) -> list[Failure]:
    """Return which files of a job have failed for good, and why."""
    return invoking.failures(workspace, records.get(workspace, job.name), most=most)


def outputs(workspace: Workspace, job: Job) -> list[Output]:
    """Return what a job that is complete has put out."""
    if job.status != "Completed":
        return []
    found = []
    for name in job.outputs:
        ref = workspace.assets.get("data", f"{job.name}-{name}").ref
        found.append(Output(name, ref, asset_files(workspace, ref)))
    return found


def log(workspace: Workspace, job: Job) -> list[str]:
    """Return the last lines that a job has said."""
    folder = attempt_folder(workspace.home, job.name, records.get(workspace, job.name).attempt)
    return tail(folder.logs, BYTES).decode("utf-8", "replace").splitlines()[-LINES:]


def why_failed(workspace: Workspace, job: Job) -> str:
    """Return why a job has failed: what ended it, or the last error that it told."""
    if error := records.get(workspace, job.name).error:
        return error
    told = [line.removeprefix("error: ") for line in log(workspace, job) if line.startswith("error: ")]
    return told[-1] if told else f"it ended with exit code {job.exit_code}"


def cancel(workspace: Workspace, endpoint: str, name: str) -> Job:
    """Ask a job to end."""
    return _job(workspace, submit.cancel(workspace, invoking.job_of(workspace, endpoint, name).name))


def resume(workspace: Workspace, endpoint: str, name: str) -> Job:
    """Go on with a job that has failed or was cancelled, as a new one: what was finished is not done again."""
    return _job(workspace, invoking.resume(workspace, invoking.job_of(workspace, endpoint, name).name))


def _summary(workspace: Workspace, endpoint: Endpoint, jobs: list[JobRecord]) -> Summary:
    running = sum(not job.ended for job in jobs)
    newest = _job(workspace, jobs[0]) if jobs else None
    return Summary(endpoint=endpoint, jobs=len(jobs), running=running, newest=newest)


def _job(workspace: Workspace, job: JobRecord) -> Job:
    plan = invoking.PLAN in job.spec["environment_variables"]
    given = {
        key: Given(path=value["path"]) if isinstance(value, dict) else Given(value=value)
        for key, value in job.spec["inputs"].items()
        if value != ""  # an optional one that nobody gave
    }
    return Job(
        name=job.name,
        endpoint=job.spec["tags"][invoking.ENDPOINT],
        deployment=job.spec["tags"][invoking.DEPLOYMENT],
        status=job.status,
        exit_code=job.exit_code,
        run_id=job.run_id,
        # Beside the data a model's job is given the model and the code: the lineage shows those.
        inputs={"data": given["data"]} if plan else given,
        outputs=tuple(job.spec["outputs"]),
        counts=invoking.counts(workspace, job),
        began=job.started_at or job.submitted_at,
        ended=job.ended_at,
        resumable=plan and job.status in ("Failed", "Canceled"),
    )
