"""`studiolo endpoint`: stable names for clients, the traffic between their deployments, their keys."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from studiolo import open_workspace
from studiolo.commands.formats import Answer
from studiolo.commands.groups import Group
from studiolo.commands.scoring_options import (
    EndpointName,
    FileName,
    Set,
    Yes,
    answer_of,
    changes,
    confirm,
    note_unused,
    shares,
    told,
)
from workspace.errors import Invalid, StudioloError
from workspace.home import Workspace

if TYPE_CHECKING:
    from serving.invoking import Answered

app = Group(help="Make endpoints, split their traffic, ask them.")
COLUMNS = ("name", "traffic", "mirror_traffic", "deployments", "auth_mode", "scoring_uri")

Traffic = Annotated[str | None, typer.Option(help='"blue=90 green=10": all of it, by percent.')]
Mirrored = Annotated[str | None, typer.Option("--mirror-traffic", help='"green=10": copies, 50 percent at most.')]


@app.command("create")
def create_command(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="An online endpoint in YAML.")] = None,
    name: FileName = "",
    auth_mode: Annotated[
        Literal["key", "aml_token", "aad_token"] | None, typer.Option(help="How it is opened.")
    ] = None,
    set_: Set = None,
) -> Answer:
    """Make an endpoint; one that is here already is brought to what the file says."""
    from serving import deploying, endpoint_files
    from serving.endpoint_files import EndpointFile

    given = changes(set_) | ({"auth_mode": auth_mode} if auth_mode else {})
    if file is None and not name:
        raise Invalid("an endpoint needs a file or a name", hint="studiolo endpoint create -n NAME")
    found = (
        endpoint_files.read(file, name=name, changes=given)
        if file
        else EndpointFile(name=name, auth_mode=auth_mode or "key")
    )
    note_unused(found.unused, found.warnings)
    with open_workspace() as workspace:
        made = deploying.put_endpoint(workspace, found)
        shown = _show(workspace, made.name)
    following = f"studiolo deployment create -f FILE -e {made.name} --all-traffic"
    return replace(shown, next="" if made.deployments else following)


@app.command("update")
def update_command(
    name: EndpointName = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="An online endpoint in YAML.")] = None,
    traffic: Traffic = None,
    mirror_traffic: Mirrored = None,
    set_: Set = None,
) -> Answer:
    """Change an endpoint; new traffic holds from the next request on."""
    from serving import deploying, endpoint_files, endpoints, yaml_values
    from workspace.documents import Document

    with open_workspace() as workspace:
        if file:
            found = endpoint_files.read(file, name=name, changes=changes(set_))
        else:
            before = endpoint_files.shown(endpoints.get(workspace, name))
            found = endpoint_files.read_document(
                yaml_values.changed(Document(Path(f"<endpoint {name}>"), before), changes(set_))
            )
        note_unused(found.unused, found.warnings)
        endpoints.get(workspace, found.name)
        if file or set_:
            deploying.put_endpoint(workspace, found)
        if traffic is not None or mirror_traffic is not None:
            endpoints.put(
                workspace,
                found.name,
                traffic=None if traffic is None else shares(traffic, "--traffic"),
                mirror=None if mirror_traffic is None else shares(mirror_traffic, "--mirror-traffic"),
            )
        return _show(workspace, found.name)


@app.command("show")
def show_command(name: EndpointName) -> Answer:
    """Show an endpoint: its traffic, its deployments, where it is reached."""
    with open_workspace() as workspace:
        return _show(workspace, name)


@app.command("list")
def list_command() -> Answer:
    """List the endpoints."""
    from serving import endpoints
    from studiolo import endpoint_shapes

    with open_workspace() as workspace:
        found = [endpoint_shapes.endpoint(workspace, each) for each in endpoints.listed(workspace, kind="online")]
    return Answer(value=found, columns=COLUMNS, next="" if found else "studiolo endpoint create -n NAME")


@app.command("delete")
def delete_command(name: EndpointName, yes: Yes = False) -> None:
    """Remove an endpoint with its deployments and keys; models stay."""
    from serving import deploying

    confirm(f"Delete the endpoint {name} and its deployments?", yes=yes)
    with open_workspace() as workspace:
        deploying.withdraw_endpoint(workspace, name)


@app.command("invoke")
def invoke_command(
    name: EndpointName,
    deployment: Annotated[
        str, typer.Option("--deployment-name", "--deployment", "-d", help="Ask this one, whatever the traffic.")
    ] = "",
    request_file: Annotated[
        Path | None, typer.Option("--request-file", "-r", help="The body; '-' reads standard input.")
    ] = None,
    input_: Annotated[str | None, typer.Option("--input", help="The body itself.")] = None,
    content_type: Annotated[str, typer.Option(help="What the body is.")] = "application/json",
) -> None:
    """Ask an endpoint and print its raw answer; without a running studio its engine is started and ended for it."""
    from serving import invoking

    if (request_file is None) == (input_ is None):
        raise Invalid("give the body once", hint="--request-file FILE, or --input '{\"input_data\": …}'")
    body = input_.encode() if input_ is not None else _read(request_file)
    with open_workspace() as workspace, told() as say:
        answered = answer_of(invoking.invoke(workspace, name, body, deployment=deployment, kind=content_type), say)
    if answered.status >= 300:
        raise _refused(answered)
    sys.stdout.buffer.write(answered.body if answered.body.endswith(b"\n") else answered.body + b"\n")


@app.command("keys")
def keys_command(
    name: EndpointName,
    regenerate: Annotated[
        Literal["primary", "secondary"] | None, typer.Option(help="Replace this key; the other goes on opening.")
    ] = None,
) -> Answer:
    """Show the two keys of an endpoint, or replace one."""
    from serving import endpoint_keys

    with open_workspace() as workspace:
        if regenerate:
            endpoint_keys.regenerate(workspace, name, regenerate)
        found = endpoint_keys.keys(workspace, name)
    typer.echo("a request bears one of them: Authorization: Bearer KEY", err=True)
    return Answer(value={"primaryKey": found["primary"], "secondaryKey": found["secondary"]})


@app.command("logs")
def logs_command(
    name: EndpointName,
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="How many lines of each deployment.")] = 50,
) -> None:
    """Show what the deployments of an endpoint say."""
    from serving import deployment_logs, endpoints

    with open_workspace() as workspace:
        for way in endpoints.get(workspace, name).deployments.values():
            for line in deployment_logs.read(workspace, way, lines=lines):
                print(f"[{way.name}] {line}")


def _show(workspace: Workspace, name: str) -> Answer:
    from serving import endpoints
    from studiolo import endpoint_shapes

    shown = endpoint_shapes.endpoint(workspace, endpoints.get(workspace, name))
    return Answer(value=shown)


def _read(file: Path | None) -> bytes:
    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read {str(file)!r}: {error.strerror}") from None


def _refused(answered: Answered) -> StudioloError:
    status = answered.headers.get("ms-azureml-model-error-statuscode", "")
    words = answered.headers.get("ms-azureml-model-error-reason", "") or answered.body.decode("utf-8", "replace")
    hint = f"the deployment answered {status}; its log says more: studiolo endpoint logs" if status else None
    return StudioloError(f"{answered.status}: {words}", hint=hint)
