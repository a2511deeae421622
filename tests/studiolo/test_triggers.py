"""Firing schedules over HTTP, and who may ask which route of the control plane for what."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from jobs import records, submit
from jobs.files import read_job
from jobs.schedules import definition, store
from studiolo.control import create_app, routes
from workspace.home import Workspace

PORT = 8401
FIRE = "/api/triggers/greet"
NOBODY, VIEWER, CONTRIBUTOR, ADMIN = "nobody", "viewer", "contributor", "admin"
OF_ENDPOINT, OF_TRIGGER, OF_ANOTHER = "a key for an endpoint", "a key for this trigger", "a key for another trigger"
READ = {NOBODY: 401, VIEWER: 200, CONTRIBUTOR: 200, ADMIN: 200, OF_ENDPOINT: 401, OF_TRIGGER: 401, OF_ANOTHER: 401}
# What each who asks is answered by each route; one that is not here fails the test.
MATRIX = {
    "GET /health": dict.fromkeys(READ, 200),
    "GET /api/status": READ,
    "GET /api/runs": READ,
    "GET /api/runs/{run_id}": READ,
    "GET /api/assets": READ,
    "GET /api/lineage/{node}": READ,
    "GET /api/endpoints": READ,
    "POST /api/triggers/{name}": {
        NOBODY: 401, VIEWER: 403, CONTRIBUTOR: 202, ADMIN: 202, OF_ENDPOINT: 403, OF_TRIGGER: 202, OF_ANOTHER: 403,
    },
}  # fmt: skip
Headers = Callable[..., dict[str, str]]


@pytest.fixture
def greet(workspace: Workspace, tmp_path: Path) -> None:
    """A schedule without a clock, and a run and an asset to look at."""
    path = tmp_path / "job.yml"
    path.write_text("command: echo hello ${{inputs.whom}}\ninputs:\n  whom: world\n  number: 1\n")
    store.put(workspace, definition.of_job(read_job(path), "greet"), now=0.0)
    with workspace.run("flow", name="mine"):
        workspace.assets.put("data", "rows", b"{}")


@pytest.fixture
def headers(workspace: Workspace) -> Headers:
    """The headers of somebody: `headers("viewer")`."""
    create = workspace.tokens.create
    known = {
        VIEWER: create("v", "viewer"), CONTRIBUTOR: create("c", "contributor"), ADMIN: create("a", "admin"),
        OF_ENDPOINT: create("e", "admin", endpoints=["support"]),
        OF_TRIGGER: create("t", "viewer", endpoints=["trigger:greet"]),
        OF_ANOTHER: create("o", "admin", endpoints=["trigger:greet2"]),
    }  # fmt: skip

    def made(who: str, key: str = "") -> dict[str, str]:
        found = {"Authorization": f"Bearer {known[who]}"} if who in known else {}
        return found | ({"Idempotency-Key": key} if key else {})

    return made


def client(workspace: Workspace) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(workspace, port=PORT))
    return httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}")


async def post(workspace: Workspace, headers: dict[str, str], body: Any = None, path: str = FIRE) -> httpx.Response:
    async with client(workspace) as visitor:
        return await visitor.post(path, headers=headers, json=body)


async def test_every_route_answers_everybody_as_the_matrix_says(
    workspace: Workspace, greet: None, headers: Headers
) -> None:
    known = [each for each in routes(workspace).routes if isinstance(each, APIRoute)]
    paths = {f"{method} {route.path}" for route in known for method in route.methods or ()}
    assert paths == set(MATRIX)
    places = {"{run_id}": "mine", "{node}": "data:rows", "{name}": "greet"}
    async with client(workspace) as visitor:
        for route, expected in MATRIX.items():
            method, path = route.split(" ")
            path = re.sub(r"{.*?}", lambda found: places[found[0]], path)
            # In this order and once more: nobody is let in because of who came just before.
            answers = {
                who: {(await visitor.request(method, path, headers=headers(who))).status_code for _ in range(2)}
                for who in (*expected, *reversed(expected))
            }
            assert answers == {who: {code} for who, code in expected.items()}, route


async def test_a_job_is_begun_and_its_name_returned(workspace: Workspace, greet: None, headers: Headers) -> None:
    answer = await post(workspace, headers(OF_TRIGGER), {"inputs": {"whom": "Ada Lovelace"}})
    told = answer.json()
    assert (answer.status_code, told["schedule"], told["status"], told["replayed"]) == (202, "greet", "started", False)
    assert b"".join(submit.stream(workspace, told["job"])) == b"hello Ada Lovelace\n"
    assert submit.wait(workspace, told["job"]).properties["studiolo.schedule"] == "greet"


async def test_without_a_body_it_runs_as_it_is(workspace: Workspace, greet: None, headers: Headers) -> None:
    async with client(workspace) as visitor:
        told = (await visitor.post(FIRE, headers=headers(ADMIN))).json()
    assert b"".join(submit.stream(workspace, told["job"])) == b"hello world\n"


async def test_an_idempotency_key_is_one_job_for_one_caller(
    workspace: Workspace, greet: None, headers: Headers
) -> None:
    one = (await post(workspace, headers(ADMIN, "k"), {"inputs": {"whom": "a"}})).json()
    two = (await post(workspace, headers(ADMIN, "k"), {"inputs": {"whom": "a"}})).json()
    assert (two["job"], one["replayed"], two["replayed"]) == (one["job"], False, True)
    other = await post(workspace, headers(ADMIN, "k"), {"inputs": {"whom": "b"}})
    assert (other.status_code, "other parameters" in other.text) == (409, True)
    assert (await post(workspace, headers(CONTRIBUTOR, "k"), {})).json()["job"] != one["job"]
    assert len(records.list_jobs(workspace)) == 2
    assert (await post(workspace, headers(ADMIN, "x" * 201), {})).status_code == 400


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": {"whom": "a; rm -rf /"}}, "shell"), ({"inputs": {"whom": "$(id)"}}, "shell"),
        ({"inputs": {"whom": "a\nb"}}, "shell"), ({"inputs": {"whom": "a --flag"}}, "shell"),
        ({"inputs": {"whom": "`id`"}}, "shell"), ({"inputs": {"whom": "${{inputs.number}}"}}, "shell"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "/etc/passwd"}}}, "path of this machine"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "file:///etc/passwd"}}}, "path of this machine"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "../secret"}}}, "path of this machine"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "FILE:///etc/passwd"}}}, "path of this machine"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "local:///etc/passwd"}}}, "URL of that kind"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "webhdfs://inside:50070/x"}}}, "URL of that kind"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "git+file:///home/ada/secret"}}}, "URL of that kind"),
        ({"inputs": {"whom": {"type": "uri_file", "path": "s3://x::file:///etc/passwd"}}}, "URL of that kind"),
        ({"outputs": {"out": {"path": "/etc/cron.d/x"}}}, "path of this machine"),
        ({"outputs": {"out": {"path": "local:///etc/cron.d/x"}}}, "URL of that kind"),
        ({"compute": "http://evil.test:8265"}, "cannot be an address"),
        ({"settings": {"default_compute": "ray://evil.test:10001"}}, "cannot be an address"),
        ({"inputs": {"who": 1}}, "no input 'who'"), ({"command": "id"}, "unknown parameter 'command'"),
        ({"code": "."}, "unknown parameter"), ([], "must be a mapping"), ("x", "must be a mapping"),
    ],
)  # fmt: skip
async def test_parameters_choose_values_and_nothing_more(
    workspace: Workspace, greet: None, headers: Headers, body: Any, words: str
) -> None:
    answer = await post(workspace, headers(OF_TRIGGER), body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert records.list_jobs(workspace) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": {"rows": "/etc/passwd"}}, "path of this machine"),
        ({"inputs": {"rows": "file:///etc/passwd"}}, "path of this machine"),
        ({"inputs": {"rows": "rows.txt"}}, "path of this machine"),
        ({"inputs": {"rows": "local:///etc/passwd"}}, "URL of that kind"),
        ({"outputs": {"there": "/etc/cron.d/x"}}, "outputs"), ({"outputs": {"other": {}}}, "no output 'other'"),
    ],
)  # fmt: skip
async def test_data_that_is_named_in_one_word_is_no_path_either(
    workspace: Workspace, tmp_path: Path, headers: Headers, body: Any, words: str
) -> None:
    (tmp_path / "rows.txt").write_text("here")
    path = tmp_path / "job.yml"
    path.write_text(
        "command: cat ${{inputs.rows}}\ninputs:\n  rows: {type: uri_file, path: rows.txt}\noutputs:\n  there: {}\n"
    )
    store.put(workspace, definition.of_job(read_job(path), "greet"), now=0.0)
    answer = await post(workspace, headers(OF_TRIGGER), body)
    assert (answer.status_code, records.list_jobs(workspace)) == (400, [])
    assert words in answer.json()["error"]["message"]


async def test_data_that_is_an_asset_is_read(workspace: Workspace, tmp_path: Path, headers: Headers) -> None:
    (tmp_path / "rows.txt").write_text("here")
    path = tmp_path / "job.yml"
    path.write_text("command: cat ${{inputs.rows}}\ninputs:\n  rows: {type: uri_file, path: rows.txt}\n")
    store.put(workspace, definition.of_job(read_job(path), "greet"), now=0.0)
    workspace.assets.put("data", "others", b"others")
    told = (await post(workspace, headers(OF_TRIGGER), {"inputs": {"rows": "azureml:others:1"}})).json()
    assert b"".join(submit.stream(workspace, told["job"])) == b"others"


STEP = "    type: command\n    command: cat ${{inputs.rows}}\n    inputs: {rows: {type: uri_file, path: '%s'}}\n"
INNER = "type: pipeline\ninputs:\n  where: {type: string}\njobs:\n  look:\n" + STEP % "${{parent.inputs.where}}"
STEPS = {
    "whole": STEP % "${{parent.inputs.where}}",
    "part": STEP % "file:///etc/${{parent.inputs.where}}",
    "nested": "    type: pipeline\n    component: ./inner.yml\n    inputs: {where: '${{parent.inputs.where}}'}\n",
    "loop": "    type: parallel_for\n    body: ${{parent.jobs.turn}}\n"
    "    items: [{where: '${{parent.inputs.where}}'}]\n"
    "  turn:\n    type: pipeline\n    component: ./inner.yml\n",
    "code": "    type: command\n    command: ls\n    code: ${{parent.inputs.where}}\n",
    "compute": "    type: command\n    command: ls\n    compute: ${{parent.inputs.where}}\n",
}


@pytest.mark.parametrize("kind", STEPS)
async def test_what_a_request_gives_becomes_no_path_in_a_pipeline(
    workspace: Workspace, tmp_path: Path, headers: Headers, kind: str
) -> None:
    where = "http://evil.test:8265" if kind == "compute" else "passwd" if kind == "part" else "/etc/passwd"
    (tmp_path / "inner.yml").write_text(INNER)
    path = tmp_path / "pipeline.yml"
    path.write_text(f"type: pipeline\ninputs:\n  where: rows.txt\njobs:\n  look:\n{STEPS[kind]}")
    store.put(workspace, definition.of_job(read_job(path), "greet"), now=0.0)
    told = (await post(workspace, headers(OF_TRIGGER), {"inputs": {"where": where}})).json()
    ended = submit.wait(workspace, told["job"], seconds=60)
    assert ended.status == "Failed"
    inner = [each.error or "" for each in records.list_jobs(workspace, parent=told["job"])]
    assert re.search(r"cannot be (a path of this machine|an address)", f"{ended.error} {inner}")
    logs = list((workspace.home / "jobs").glob("*/1/user_logs/*"))
    assert logs
    assert not any(b"root:" in log.read_bytes() for log in logs)


async def test_what_the_file_of_a_pipeline_says_is_read_when_a_request_fires_it(
    workspace: Workspace, tmp_path: Path, headers: Headers
) -> None:
    (tmp_path / "rows.txt").write_text("here")
    path = tmp_path / "pipeline.yml"
    path.write_text(
        f"type: pipeline\ninputs:\n  where: {tmp_path}/rows.txt\n  word: no\njobs:\n  look:\n"
        + STEP % "${{parent.inputs.where}}"
    )
    store.put(workspace, definition.of_job(read_job(path), "greet"), now=0.0)
    told = (await post(workspace, headers(OF_TRIGGER), {"inputs": {"word": "yes"}})).json()
    assert submit.wait(workspace, told["job"], seconds=60).status == "Completed"
    assert b"".join(submit.stream(workspace, f"{told['job']}_look")) == b"here"


async def test_what_is_no_json_is_refused(workspace: Workspace, greet: None, headers: Headers) -> None:
    async with client(workspace) as visitor:
        for content in (b"{", b"\xff", b"[" * 100_000):
            assert (await visitor.post(FIRE, headers=headers(ADMIN), content=content)).status_code == 400


async def test_a_schedule_that_is_not_there_is_404_to_who_may_know(
    workspace: Workspace, greet: None, headers: Headers
) -> None:
    assert (await post(workspace, headers(ADMIN), {}, "/api/triggers/great")).status_code == 404
    assert (await post(workspace, headers(OF_TRIGGER), {}, "/api/triggers/great")).status_code == 403


async def test_a_page_of_somebody_else_fires_nothing(workspace: Workspace, greet: None, headers: Headers) -> None:
    answer = await post(workspace, headers(ADMIN) | {"Origin": "http://evil.test"}, {})
    assert answer.status_code == 403
    assert records.list_jobs(workspace) == []
