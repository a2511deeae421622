"""`studiolo batch-endpoint` and `studiolo batch-deployment`: files in, predictions out, as jobs of this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from studiolo import batch_shapes, open_workspace
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import (
    AllowPickle,
    DeploymentName,
    EndpointName,
    FileEndpoint,
    FileName,
    OfEndpoint,
    Set,
    Yes,
    changes,
    confirm,
    made_of,
    note_unused,
    told,
)
from workspace.errors import Invalid, PartialFailure, StudioloError
from workspace.home import Workspace

if TYPE_CHECKING:
    from serving.batch.deployment_files import BatchDeploymentFile

endpoints = Group(help="Make batch endpoints, give them files to score, look at their jobs.")
deployments = Group(help="Deploy models and scripts behind batch endpoints.")
ENDPOINTS = ("name", "deployments", "defaults", "invoke_uri")
DEPLOYMENTS = ("name", "endpoint_name", "type", "model", "mini_batch_size", "instance_count")
JOBS = ("name", "deployment_name", "status", "counts", "outputs")

SetDefault = Annotated[bool, typer.Option("--set-default", help="It answers where no deployment is named.")]


@endpoints.command("create")
def create_endpoint(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A batch endpoint in YAML.")] = None,
    name: FileName = "",
    set_: Set = None,
) -> Answer:
    """Make a batch endpoint; one that is here already is brought to what the file says."""
    from serving.batch import deploying, endpoint_files
    from serving.batch.endpoint_files import BatchEndpointFile

    if file is None and not name:
        raise Invalid("an endpoint needs a file or a name", hint="studiolo batch-endpoint create -n NAME")
    found = endpoint_files.read(file, name=name, changes=changes(set_)) if file else BatchEndpointFile(name=name)
    note_unused(found.unused, found.warnings)
    with open_workspace() as workspace:
        made = deploying.put_endpoint(workspace, found)
        shown = batch_shapes.endpoint(workspace, made)
    following = f"studiolo batch-deployment create -f FILE -e {made.name} --set-default"
    return Answer(value=shown, next="" if made.deployments else following)


@endpoints.command("update")
def update_endpoint(
    name: EndpointName = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A batch endpoint in YAML.")] = None,
    set_: Set = None,
    set_default: Annotated[str, typer.Option("--set-default", help="The deployment that answers by itself.")] = "",
) -> Answer:
    """Change a batch endpoint: `--set defaults.deployment_name=blue`."""
    from serving.batch import deploying, endpoint_files
    from serving.yaml_values import changed
    from workspace.documents import Document

    given = changes(set_) | ({"defaults.deployment_name": set_default} if set_default else {})
    with open_workspace() as workspace:
        if file:
            found = endpoint_files.read(file, name=name, changes=given)
            deploying.get(workspace, found.name)
        else:
            before = Document(Path(f"<endpoint {name}>"), endpoint_files.shown(deploying.get(workspace, name)))
            found = endpoint_files.read_document(changed(before, given))
        note_unused(found.unused, found.warnings)
        made = deploying.put_endpoint(workspace, found)
        return Answer(value=batch_shapes.endpoint(workspace, made))


@endpoints.command("show")
def show_endpoint(name: EndpointName) -> Answer:
    """Show a batch endpoint."""
    from serving.batch import deploying

    with open_workspace() as workspace:
        return Answer(value=batch_shapes.endpoint(workspace, deploying.get(workspace, name)))


@endpoints.command("list")
def list_endpoints() -> Answer:
    """List the batch endpoints."""
    with open_workspace() as workspace:
        found = [batch_shapes.endpoint(workspace, each) for each in batch_shapes.endpoints(workspace)]
    return Answer(value=found, columns=ENDPOINTS)


@endpoints.command("delete")
def delete_endpoint(name: EndpointName, yes: Yes = False) -> None:
    """Remove a batch endpoint with its deployments; jobs that run go on, models and outputs stay."""
    from serving.batch import deploying

    confirm(f"Delete the batch endpoint {name} and its deployments?", yes=yes)
    with open_workspace() as workspace:
        deploying.withdraw_endpoint(workspace, name)


@endpoints.command("invoke")
def invoke_endpoint(
    name: EndpointName,
    deployment: Annotated[
        str, typer.Option("--deployment-name", "--deployment", "-d", help="This one, instead of the default.")
    ] = "",
    input_: Annotated[str, typer.Option("--input", help="A file, a folder, or azureml:NAME:VERSION.")] = "",
    input_type: Annotated[
        Literal["uri_file", "uri_folder", "mltable"] | None, typer.Option(help="What the input is.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Inputs in YAML, for several.")] = None,
    set_: Set = None,
    mini_batch_size: Annotated[int | None, typer.Option(min=1, help="Files that go to one call.")] = None,
    instance_count: Annotated[int | None, typer.Option(min=1, help="Times the processes of one instance.")] = None,
    output_path: Annotated[str, typer.Option(help="A folder that gets the output besides.")] = "",
    job_name: Annotated[str, typer.Option(help="The name of the job.")] = "",
    resume: Annotated[str, typer.Option(help="Go on with a job that has failed: what it finished is kept.")] = "",
    stream: Annotated[bool, typer.Option("--stream", "-s", help="Follow it to its end.")] = False,
) -> Answer:
    """Begin a job over files. With --stream the exit code is 3 where some files have failed, 1 where the job has."""
    from serving.batch import invoking
    from serving.batch.invoking import Invocation

    with open_workspace() as workspace:
        if resume:
            job = invoking.resume(workspace, invoking.job_of(workspace, name, resume).name)
        else:
            asked = Invocation(
                deployment=deployment,
                inputs=batch_shapes.inputs(file, changes(set_), path=input_, kind=input_type or ""),
                mini_batch_size=mini_batch_size,
                instances=instance_count,
                output_path=str(Path(output_path).expanduser().resolve()) if output_path else "",
                job_name=job_name,
            )
            job = invoking.invoke(workspace, name, asked)
        if stream:
            _follow(workspace, job.name)
        shown = invoking.shown(workspace, invoking.job_of(workspace, name, job.name))
    if not stream:
        return Answer(value=shown, next=f"studiolo job stream {job.name}")
    return Answer(value=shown, failure=_failure(name, shown))


@endpoints.command("list-jobs")
def list_jobs(name: EndpointName) -> Answer:
    """List the jobs of a batch endpoint, newest first."""
    from serving.batch import invoking

    with open_workspace() as workspace:
        found = [invoking.shown(workspace, job) for job in invoking.jobs_of(workspace, name)]
    return Answer(value=found, columns=JOBS)


@deployments.command("create")
def create_deployment(
    file: Annotated[Path, typer.Option("--file", "-f", help="A batch deployment in YAML.")],
    name: FileName = "",
    endpoint: FileEndpoint = "",
    set_: Set = None,
    set_default: SetDefault = False,
    allow_pickle: AllowPickle = False,
) -> Answer:
    """Deploy what a file describes; a deployment of that name is changed."""
    from serving.batch import deployment_files

    found = deployment_files.read(file, name=name, endpoint=endpoint, changes=changes(set_))
    made = _deploy(found, allow_pickle=allow_pickle, default=set_default)
    return replace(made, next=f"studiolo batch-endpoint invoke -n {found.parts.endpoint} --input FOLDER")


@deployments.command("update")
def update_deployment(
    name: DeploymentName = "",
    endpoint: OfEndpoint = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A batch deployment in YAML.")] = None,
    set_: Set = None,
    set_default: SetDefault = False,
    allow_pickle: AllowPickle = False,
) -> Answer:
    """Change a deployment: by a file, or single keys of the one it was made of."""
    from serving.batch import deployment_files
    from serving.batch.deploying import chosen

    if file:
        found = deployment_files.read(file, name=name, endpoint=endpoint, changes=changes(set_))
    else:
        with open_workspace() as workspace:
            written = chosen(workspace, endpoint, name).properties["written"]
        found = deployment_files.read_again(written, {"name": name, "endpoint_name": endpoint, **changes(set_)})
    return _deploy(found, allow_pickle=allow_pickle, default=set_default)


@deployments.command("show")
def show_deployment(name: DeploymentName, endpoint: OfEndpoint) -> Answer:
    """Show a deployment and its settings."""
    from serving.batch.deploying import chosen

    with open_workspace() as workspace:
        return Answer(value=batch_shapes.deployment(chosen(workspace, endpoint, name)))


@deployments.command("list")
def list_deployments(endpoint: OfEndpoint) -> Answer:
    """List the deployments of a batch endpoint."""
    from serving.batch import deploying

    with open_workspace() as workspace:
        found = [batch_shapes.deployment(way) for way in deploying.get(workspace, endpoint).deployments.values()]
    return Answer(value=found, columns=DEPLOYMENTS)


@deployments.command("delete")
def delete_deployment(name: DeploymentName, endpoint: OfEndpoint, yes: Yes = False) -> None:
    """Remove a deployment; jobs that run go on, the model stays."""
    from serving.batch import deploying

    confirm(f"Delete the deployment {endpoint}/{name}?", yes=yes)
    with open_workspace() as workspace:
        deploying.withdraw(workspace, endpoint, name)


def _deploy(file: BatchDeploymentFile, *, allow_pickle: bool, default: bool) -> Answer:
    from serving.batch import deploying

    note_unused(file.parts.unused, file.parts.warnings)
    with open_workspace() as workspace, told() as say:
        made = made_of(deploying.deploy(workspace, file, allow_pickle=allow_pickle, default=default), say)
    return Answer(value=batch_shapes.deployment(made))


def _failure(name: str, job: Mapping[str, Any]) -> StudioloError | None:
    """Return what went wrong with a job that has ended, if something did."""
    if job["status"] != "Completed":
        hint = f"studiolo batch-endpoint invoke -n {name} --resume {job['name']}"
        return StudioloError(f"job {job['name']!r} {job['status'].lower()}", hint=hint)
    if failed := job["counts"].get("files_failed"):
        return PartialFailure(f"{failed} of {job['counts']['files']} files have failed", hint="the log says why")
    return None


def _follow(workspace: Workspace, job: str) -> None:
    """Show what a job says as it says it, beside the data that goes to standard output."""
    from jobs import submit

    for chunk in submit.stream(workspace, job):
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
