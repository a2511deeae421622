"""`studiolo deployment`: ways of answering behind an endpoint: models, scripts, flows and the engines that run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import (
    AllowPickle,
    DeploymentName,
    FileEndpoint,
    FileName,
    OfEndpoint,
    Set,
    Yes,
    answer_of,
    changes,
    confirm,
    made_of,
    note_unused,
    told,
)
from workspace.errors import Invalid, StudioloError
from workspace.home import Workspace

if TYPE_CHECKING:
    from serving.deployment_files import DeploymentFile
    from serving.endpoints import Deployment

app = Group(help="Deploy models, scripts and flows behind endpoints.")
COLUMNS = ("name", "endpoint_name", "engine", "model", "state", "instance_count")

NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until a running studio has loaded it.")]


@app.command("create")
def create_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="An online deployment in YAML.")],
    name: FileName = "",
    endpoint: FileEndpoint = "",
    set_: Set = None,
    all_traffic: Annotated[bool, typer.Option("--all-traffic", help="Give it all of the endpoint's traffic.")] = False,
    allow_pickle: AllowPickle = False,
    no_wait: NoWait = False,
) -> Answer:
    """Deploy what a file describes; a deployment of that name is changed. It gets no traffic unless told to."""
    from serving import deployment_files

    found = deployment_files.read(file, name=name, endpoint=endpoint, changes=changes(set_))
    return _deploy(found, all_traffic=all_traffic, allow_pickle=allow_pickle, wait=not no_wait)


@app.command("update")
def update_command(
    name: DeploymentName = "",
    endpoint: OfEndpoint = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="An online deployment in YAML.")] = None,
    set_: Set = None,
    allow_pickle: AllowPickle = False,
    no_wait: NoWait = False,
) -> Answer:
    """Change a deployment: by a file, or single keys of the one it was made of."""
    from serving import deployment_files, endpoints

    if file:
        found = deployment_files.read(file, name=name, endpoint=endpoint, changes=changes(set_))
    else:
        with open_workspace() as workspace:
            written = endpoints.deployment(workspace, endpoint, name).properties.get("written")
        if not written:
            raise Invalid(f"{endpoint}/{name} was not made of a file", hint="give one: --file FILE")
        found = deployment_files.read_again(written, changes(set_))
    return _deploy(found, all_traffic=False, allow_pickle=allow_pickle, wait=not no_wait)


@app.command("show")
def show_command(name: DeploymentName, endpoint: OfEndpoint) -> Answer:
    """Show a deployment: its engine, its model, whether it runs."""
    from serving import endpoints

    with open_workspace() as workspace:
        return _show(workspace, endpoints.deployment(workspace, endpoint, name))


@app.command("list")
def list_command(
    endpoint: Annotated[str, typer.Option("--endpoint-name", "-e", help="The endpoint; none: of all.")] = "",
) -> Answer:
    """List deployments."""
    from serving import endpoints
    from studiolo import endpoint_shapes

    with open_workspace() as workspace:
        found = [endpoints.get(workspace, endpoint)] if endpoint else endpoints.listed(workspace, kind="online")
        ways = [way for each in found for way in each.deployments.values()]
        return Answer(value=[endpoint_shapes.deployment(workspace, way) for way in ways], columns=COLUMNS)


@app.command("delete")
def delete_command(name: DeploymentName, endpoint: OfEndpoint, yes: Yes = False) -> None:
    """Remove a deployment that gets no traffic, and end its engine; the model stays."""
    from serving import deploying

    confirm(f"Delete the deployment {endpoint}/{name}?", yes=yes)
    with open_workspace() as workspace:
        deploying.withdraw(workspace, endpoint, name)


@app.command("logs")
def logs_command(
    name: DeploymentName,
    endpoint: OfEndpoint,
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="How many lines to begin with.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as more is said, until Ctrl-C.")] = False,
) -> None:
    """Show what a deployment says: what its script prints, why it failed."""
    from serving import deployment_logs, endpoints

    with open_workspace() as workspace:
        way = endpoints.deployment(workspace, endpoint, name)
        said = False
        for line in deployment_logs.read(workspace, way, lines=lines, follow=follow):
            said = True
            print(line)
    if not said:
        typer.echo("nothing yet: its engine starts with the first request", err=True)


def _deploy(file: DeploymentFile, *, all_traffic: bool, allow_pickle: bool, wait: bool) -> Answer:
    from serving import deploying, service

    note_unused(file.unused, file.warnings)
    with open_workspace() as workspace:
        with told() as say:
            made = made_of(deploying.deploy(workspace, file, allow_pickle=allow_pickle), say)
            if wait and service.running(workspace.home):
                _load(workspace, made, say)
        if all_traffic:
            deploying.give_all_traffic(workspace, made)
        shown = _show(workspace, made)
    return replace(shown, next=f"studiolo endpoint invoke -n {made.endpoint} -d {made.name} --request-file FILE")


def _load(workspace: Workspace, made: Deployment, say: Callable[[str], None]) -> None:
    from serving import invoking, scoring

    if made.engine not in scoring.ENGINES:
        return
    answered = answer_of(invoking.load(workspace, made), say)
    if answered.status >= 300:
        words = answered.body.decode("utf-8", "replace")
        hint = f"studiolo deployment logs -n {made.name} -e {made.endpoint}"
        raise StudioloError(f"{made.path} is recorded and cannot be loaded: {words}", hint=hint)


def _show(workspace: Workspace, made: Deployment) -> Answer:
    from studiolo import endpoint_shapes

    return Answer(value=endpoint_shapes.deployment(workspace, made))
