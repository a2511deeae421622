"""A flow behind an endpoint that fails: told as its own doing, not tried again, and heard by a rollout's guards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import endpoints, replicas
from serving.call import Limits
from serving.gateway import Door, create_app
from serving.rollouts import records
from serving.rollouts.records import Plan
from tests.serving.conftest import listening
from workspace.home import Workspace

FLOW = """\
inputs:
  question: {type: string, is_chat_input: true}
  times: {type: int, default: 1}
outputs:
  answer: {type: string, reference: "${say.output}", is_chat_output: true}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}", times: "${inputs.times}"}
"""
SAY = """\
from pathlib import Path

from promptflow.core import tool


@tool
def say(question: str, times: int) -> str:
    with Path(%r).open("a") as ran:
        ran.write("x")
    if %s:
        raise ValueError("I do not know")
    return question * times
"""

Ask = Callable[..., Any]


@pytest.fixture
async def door(workspace: Workspace, tmp_path: Path) -> AsyncIterator[tuple[Door, httpx.AsyncClient]]:
    """A gateway over an endpoint with two flows: "blue" is sound, "green" fails where it is asked for a ghost."""
    endpoints.put(workspace, "says")
    for name, wrong in (("blue", "False"), ("green", "'ghost' in question")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "flow.dag.yaml").write_text(FLOW)
        (folder / "say.py").write_text(SAY % (str(tmp_path / f"{name}.ran"), wrong))
        flow = workspace.assets.put("flow", name, folder).ref
        endpoints.put_deployment(workspace, "says", name, engine="flow", model=flow)
    endpoints.put(workspace, "says", traffic={"blue": 100})
    app = create_app(workspace, limits=Limits(loading=120.0))
    headers = {"authorization": f"Bearer {workspace.tokens.local()}"}
    try:
        async with listening(app) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as http:
            yield app, http
            app.close()
    finally:
        replicas.stop_all(workspace.home)


async def ask(http: httpx.AsyncClient, text: str, model: str = "says", **more: Any) -> httpx.Response:
    """Ask for a chat."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return await http.post("/v1/chat/completions", json=body)


async def test_it_is_a_500_with_a_code_and_runs_once(
    door: tuple[Door, httpx.AsyncClient], workspace: Workspace, tmp_path: Path
) -> None:
    app, http = door
    found = await ask(http, "a ghost", "says/green")
    error = found.json()["error"]
    assert (found.status_code, error["code"], error["type"]) == (500, "flow_failed", "server_error")
    assert "I do not know" in error["message"]
    assert found.headers["x-should-retry"] == "false"
    assert (tmp_path / "green.ran").read_text() == "x"
    assert (await ask(http, "a cat", "says/green")).json()["choices"][0]["message"]["content"] == "a cat"
    wrong = await ask(http, "a cat", "says/green", inputs={"times": "many"})
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")
    app.house.rows.flush()
    workspace.spool.ingest()


async def test_a_rollout_is_taken_back_for_it_but_not_for_what_clients_do_wrong(
    door: tuple[Door, httpx.AsyncClient], workspace: Workspace
) -> None:
    app, http = door
    for name in ("blue", "green"):  # both are up
        assert (await ask(http, "a cat", f"says/{name}")).status_code == 200
    app.house.watch.begin()
    plan = Plan(endpoint="says", deployment="green", steps=(50, 100), bake=0.0, requests=400, guards={"errors": 0.02})
    rollout = await asyncio.to_thread(records.start, workspace, plan)
    await asyncio.sleep(1.3)  # the gateway knows of it, and of the new traffic
    for _ in range(40):
        assert (await ask(http, "a ghost", inputs={"times": "many"})).status_code == 400
    assert records.get(workspace, rollout.id).state == "RUNNING"
    for _ in range(400):
        await ask(http, "a ghost")
        if records.get(workspace, rollout.id).state == "ABORTED":
            break
    found = records.get(workspace, rollout.id)
    assert found.state == "ABORTED"
    assert str(found.reason).startswith("errors: failed requests 100.0%")
    assert found.evidence["told"]["errors"]["candidate"]["count"] <= 100
    assert endpoints.get(workspace, "says").traffic == {"blue": 100}
