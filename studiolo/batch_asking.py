"""Asking a batch endpoint from the studio: what it needs, what there is to give, and what does the same elsewhere."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from jobs.files.ports import Scalar
from serving.batch import deploying, endpoint_files, invoking
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.batch.plan import OUTPUT
from serving.endpoints import Deployment, Endpoint
from studiolo import batch_activity
from studiolo.batch_activity import Job
from studiolo.endpoint_shapes import address
from workspace.errors import Denied, Invalid
from workspace.home import Workspace
from workspace.tokens import TokenRecord

DATA = "data"  # what the one input of a model's job is called
HIDDEN = "(not shown)"  # instead of the value of a variable
_API_TYPES = {"uri_file": "UriFile", "uri_folder": "UriFolder", "": "UriFolder"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input that a deployment takes: files or a value, and what stands where nothing is given."""

    name: str
    is_path: bool
    needed: bool
    value: Scalar | None = None


def inputs(way: Deployment) -> list[Input]:
    """Return what a deployment takes: a model one input of files, a pipeline those it declares."""
    if way.engine != "command":
        return [Input(name=DATA, is_path=True, needed=True)]
    found: dict[str, Input] = {}
    for each in way.properties[deploying.STEP]["inputs"].values():
        name, value = each["source"], each["value"]
        needed = value is None and not each["optional"]
        found.setdefault(name, Input(name=name, is_path=each["is_path"], needed=needed, value=value))
    return list(found.values())


def data(workspace: Workspace) -> list[str]:
    """Return the data assets that can be given, newest first: "azureml:rows:1"."""
    found = sorted(workspace.assets.list("data"), key=lambda asset: asset.created_at, reverse=True)
    return [f"azureml:{asset.name}:{asset.version}" for asset in found]


def takes_files(takes: Sequence[Input]) -> bool:
    """Whether it is a model that is asked, whose one input may be uploaded."""
    return [each.name for each in takes] == [DATA] and takes[0].is_path


def stand_in(uploads: Sequence[tuple[str, bytes]]) -> dict[str, Given]:
    """Return the input that stands for uploaded files in a command: the file, or a folder of somebody's own."""
    if len(uploads) == 1:
        return {DATA: Given(path=uploads[0][0], type="uri_file")}
    return {DATA: Given(path="FOLDER", type="uri_folder")}


def ask(
    workspace: Workspace,
    endpoint: str,
    asked: Invocation,
    *,
    holder: TokenRecord,
    uploads: Sequence[tuple[str, bytes]] | None = None,
) -> Job:
    """Begin a job for somebody. Uploaded files become its input; files of this machine are for those who own it."""
    if uploads is not None:
        asked = replace(asked, inputs={DATA: keep_upload(workspace, endpoint, uploads)})
    if holder.role != "admin" and invoking.names_paths(asked):
        raise Denied("this token may name data of the workspace only", hint="azureml:NAME:VERSION, or upload the files")
    return batch_activity.job(workspace, endpoint, invoking.invoke(workspace, endpoint, asked).name)


def keep_upload(workspace: Workspace, endpoint: str, files: Sequence[tuple[str, bytes]]) -> Given:
    """Keep files that somebody has uploaded as a data asset, one file or a folder, and return it as an input."""
    if not files:
        raise Invalid("no file was given", hint="choose files to upload, or data of the workspace")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files:
            path = Path(folder) / Path(name).name
            if path.exists():
                raise Invalid(f"two files are called {path.name!r}", hint="give one of them another name")
            path.write_bytes(content)
        place = path if len(files) == 1 else Path(folder)
        stem = path.stem if len(files) == 1 else "upload"
        asset = workspace.assets.put(DATA, re.sub(r"[^A-Za-z0-9._-]+", "-", f"{endpoint}-{stem}"), place)
    return Given(path=f"azureml:{asset.name}:{asset.version}")


def asked_before(workspace: Workspace, job: Job) -> Invocation:
    """Return what was asked to begin a job."""
    plan = invoking.plan_of(invoking.job_of(workspace, job.endpoint, job.name))
    return Invocation(
        deployment=job.deployment,
        inputs=job.inputs,
        mini_batch_size=plan.settings.mini_batch_size if plan else None,
        instances=plan.settings.instances if plan else None,
        output_path=plan.copy_to if plan else "",
    )


def as_command(endpoint: str, asked: Invocation) -> str:
    """Return the command that asks the same; what has several inputs names a file, `as_file`."""
    line = f"studiolo batch-endpoint invoke -n {shlex.quote(endpoint)}"
    line += f" -d {shlex.quote(asked.deployment)}" if asked.deployment else ""
    one = asked.inputs.get(DATA) if len(asked.inputs) == 1 else None
    line += f" --input {shlex.quote(one.path)}" if one and one.path else " -f inputs.yml"
    line += f" --mini-batch-size {asked.mini_batch_size}" if asked.mini_batch_size else ""
    line += f" --instance-count {asked.instances}" if asked.instances else ""
    return line + (f" --output-path {shlex.quote(asked.output_path)}" if asked.output_path else "")


def as_file(workspace: Workspace, asked: Invocation) -> str:
    """Return the inputs as the file that `az ml batch-endpoint invoke -f` and ours read."""
    found: dict[str, Any] = {}
    for name, given in asked.inputs.items():
        kind = _type(workspace, given)
        found[name] = {"type": kind, "path": given.path} if given.path else given.value
    return _yaml({"inputs": found})


def as_request(workspace: Workspace, endpoint: str, asked: Invocation) -> str:
    """Return the HTTP request that asks the same; the token stays in its file."""
    found: dict[str, Any] = {}
    for name, given in asked.inputs.items():
        kind = _API_TYPES[_type(workspace, given)]
        file = {"JobInputType": kind, "Uri": given.path}
        found[name] = file if given.path else {"JobInputType": "Literal", "Value": given.value}
    properties: dict[str, Any] = {"InputData": found}
    if asked.mini_batch_size:
        properties["MiniBatchSize"] = asked.mini_batch_size
    if asked.output_path:
        properties["OutputData"] = {OUTPUT: {"JobOutputType": "UriFile", "Uri": asked.output_path}}
    body = json.dumps({"properties": properties}, indent=2, ensure_ascii=False).replace("'", "'\\''")
    way = f"  -H 'azureml-model-deployment: {asked.deployment}' \\\n" if asked.deployment else ""
    return (
        f"curl {address(workspace, endpoint)}/jobs \\\n"
        '  -H "Authorization: Bearer $(cat .studiolo/token)" \\\n'
        f"{way}  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )


def files(endpoint: Endpoint) -> dict[str, str]:
    """Return the files that make an endpoint and its deployments anew, by name; variables come without their values.

    Which deployment answers by itself is said when it is made (`--set-default`): a file could not name it before.
    """
    shown = {key: value for key, value in endpoint_files.shown(endpoint).items() if value and key != "defaults"}
    found = {"endpoint.yml": _yaml(shown)}
    for name, way in sorted(endpoint.deployments.items()):
        if written := way.properties.get("written"):
            root = {**written["root"], "name": name, "endpoint_name": endpoint.name}
            where = f"# its paths begin in {Path(written['file']).parent}\n"
            found[f"deployment-{name}.yml"] = where + _yaml(_masked(root))
    return found


def as_making(endpoint: Endpoint) -> str:
    """Return the commands that make an endpoint of its `files`."""
    default = batch_activity.default_deployment(endpoint)
    lines = ["studiolo batch-endpoint create -f endpoint.yml"]
    for name in sorted(endpoint.deployments):
        mark = " --set-default" if name == default else ""
        lines.append(f"studiolo batch-deployment create -f deployment-{name}.yml{mark}")
    return "\n".join(lines)


def _masked(value: Any) -> Any:
    """The same without the values of variables, wherever they are written: a job definition has its own."""
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: dict.fromkeys(each, HIDDEN) if key == "environment_variables" and isinstance(each, dict) else _masked(each)
        for key, each in value.items()
    }


def _type(workspace: Workspace, given: Given) -> str:
    if given.type or not given.path:
        return given.type
    if given.is_asset:
        return "uri_folder" if workspace.assets.get(DATA, given.path).is_folder else "uri_file"
    return "uri_file" if Path(given.path).expanduser().is_file() else "uri_folder"


def _yaml(content: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    text, yaml = StringIO(), YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(dict(content), text)
    return text.getvalue()
