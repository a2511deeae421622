"""The jobs of batch endpoints over HTTP, as Azure ML has them: begin one, see how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobs import submit
from jobs.records import JobRecord
from serving.api import fields, schemas
from serving.batch import invoking
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.batch.plan import OUTPUT
from serving.openai_errors import Refusal
from serving.routing import NAMED
from serving.table import Route
from serving.visit import Visit
from workspace.home import Workspace

_TYPES: Mapping[str, str] = {
    "urifile": "uri_file", "urifolder": "uri_folder", "uri_file": "uri_file", "uri_folder": "uri_folder",
    "mltable": "mltable",
}  # fmt: skip
_LITERAL = "literal"


async def begin(visit: Visit) -> None:
    """Begin a job and say where it is looked at."""
    name = _endpoint(visit)
    properties = fields.record((await visit.read()).get("properties") or {}, "properties")
    asked = Invocation(
        deployment=visit.headers.get(NAMED, b"").decode("latin-1"),
        inputs=_inputs(properties),
        output_path=_output(properties),
        mini_batch_size=_count(properties, "MiniBatchSize"),
        job_name=fields.text(properties.get("JobName") or "", "properties.JobName"),
    )
    _check_paths(visit, asked)
    workspace = visit.house.workspace
    job = await asyncio.to_thread(invoking.invoke, workspace, name, asked)
    await visit.answer(await asyncio.to_thread(_told, workspace, name, job), status=202)


async def show(visit: Visit) -> None:
    """Show one job of an endpoint: its status, its counts, its outputs."""
    name, workspace = _endpoint(visit), visit.house.workspace
    job = await asyncio.to_thread(invoking.job_of, workspace, name, visit.values["job"])
    await visit.answer(await asyncio.to_thread(_told, workspace, name, job))


async def several(visit: Visit) -> None:
    """List the jobs of an endpoint, newest first."""
    name, workspace = _endpoint(visit), visit.house.workspace
    found = await asyncio.to_thread(invoking.jobs_of, workspace, name)
    await visit.answer({"value": [await asyncio.to_thread(_told, workspace, name, job) for job in found]})


async def cancel(visit: Visit) -> None:
    """Ask a job to end."""
    name, workspace = _endpoint(visit), visit.house.workspace
    job = await asyncio.to_thread(invoking.job_of, workspace, name, visit.values["job"])
    job = await asyncio.to_thread(submit.cancel, workspace, job.name)
    await visit.answer(await asyncio.to_thread(_told, workspace, name, job), status=202)


def _endpoint(visit: Visit) -> str:
    name, key = visit.values["name"], visit.call.key
    if key and key.endpoints is not None and name not in key.endpoints:
        raise Refusal(403, f"this key may not ask {name!r}", code="model_not_allowed")
    return name


def _inputs(properties: Mapping[str, Any]) -> dict[str, Given]:
    found = {}
    for name, value in fields.record(properties.get("InputData") or {}, "properties.InputData").items():
        where = f"properties.InputData.{name}"
        given = fields.record(value, where)
        kind = fields.text(given.get("JobInputType") or "", f"{where}.JobInputType").lower()
        if kind == _LITERAL:
            literal = fields.required(given.get("Value"), f"{where}.Value")
            if not isinstance(literal, str | int | float | bool):
                raise fields.wrong(f"'{where}.Value' must be a text, a number or a truth", f"{where}.Value")
            found[name] = Given(value=literal)
            continue
        if kind not in ("", *_TYPES):
            raise fields.wrong(f"'{where}.JobInputType' cannot be {kind!r}", f"{where}.JobInputType")
        uri = fields.needed_text(given, "Uri", f"{where}.Uri")
        found[name] = Given(path=uri.removeprefix("file://"), type=_TYPES.get(kind, ""))
    return found


def _output(properties: Mapping[str, Any]) -> str:
    outputs = fields.record(properties.get("OutputData") or {}, "properties.OutputData")
    for name, value in outputs.items():
        where = f"properties.OutputData.{name}"
        if name != OUTPUT:
            raise fields.wrong(f"there is no output {name!r}, only {OUTPUT!r}", where)
        return fields.text(fields.record(value, where).get("Uri") or "", f"{where}.Uri").removeprefix("file://")
    return ""


def _count(properties: Mapping[str, Any], name: str) -> int | None:
    value = properties.get(name)
    return None if value is None else fields.whole(value, f"properties.{name}", 1)


def _check_paths(visit: Visit, asked: Invocation) -> None:
    """Files of this machine are for who owns it: any other key names data of the workspace."""
    if visit.call.key and visit.call.key.role == "admin":
        return
    if invoking.names_paths(asked):
        message = "this key may name data of the workspace only, as azureml:NAME:VERSION"
        raise Refusal(403, message, code="path_not_allowed", param="properties.InputData")


def _told(workspace: Workspace, endpoint: str, job: JobRecord) -> dict[str, Any]:
    shown = invoking.shown(workspace, job)
    moments = {key: shown.pop(key) for key in ("submitted_at", "started_at", "ended_at")}
    address = f"/endpoints/{endpoint}/jobs/{job.name}"
    return {
        "id": address,
        "name": job.name,
        "type": "batch_job",
        "status_uri": address,
        "properties": {
            **shown,
            **{key: None if at is None else datetime.fromtimestamp(at, UTC).isoformat() for key, at in moments.items()},
        },
    }


_ASK = schemas.body({"properties": schemas.body({"InputData": schemas.OBJECT}, {"OutputData": schemas.OBJECT})}, {})
_JOBS = "/endpoints/{name}/jobs"
ROUTES = (
    Route(path=_JOBS, method="POST", answer=begin, scope="ask", summary="Begin a batch job", request=_ASK),
    Route(path=_JOBS, method="GET", answer=several, scope="look", summary="List the jobs of a batch endpoint"),
    Route(path=f"{_JOBS}/{{job}}", method="GET", answer=show, scope="look", summary="Show a batch job"),
    Route(path=f"{_JOBS}/{{job}}/cancel", method="POST", answer=cancel, scope="ask", summary="End a batch job"),
)
