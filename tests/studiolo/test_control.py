"""The REST API: what the workspace knows, as JSON."""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

import httpx

from studiolo import control
from studiolo.control import create_app
from workspace.home import Workspace


def client(workspace: Workspace) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(workspace, port=8401))
    headers = {"Authorization": f"Bearer {workspace.tokens.local()}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8401", headers=headers)


async def test_a_run_is_listed_and_shown_with_its_history(workspace: Workspace) -> None:
    with workspace.run("flow", name="mine") as run:
        run.log_metrics({"loss": 0.5}, step=1)
        run.log_metrics({"loss": math.nan}, step=2)
    async with client(workspace) as visitor:
        listed = (await visitor.get("/api/runs", params={"kind": "flow"})).json()
        shown = (await visitor.get("/api/runs/mine")).json()
    assert [each["name"] for each in listed] == ["mine"]
    assert [each["value"] for each in shown["history"]] == [0.5, None]


async def test_an_unknown_run_is_404_with_a_hint(workspace: Workspace) -> None:
    async with client(workspace) as visitor:
        answer = await visitor.get("/api/runs/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["hint"]


async def test_a_key_for_endpoints_sees_nothing_here(workspace: Workspace) -> None:
    key = workspace.tokens.create("an application", "viewer", endpoints=["support"])
    async with client(workspace) as visitor:
        assert (await visitor.get("/api/runs", headers={"Authorization": f"Bearer {key}"})).status_code == 401
        assert (await visitor.get("/api/runs")).status_code == 200


async def test_lineage_leads_from_a_report_to_its_data(workspace: Workspace) -> None:
    data = workspace.assets.put("data", "questions", b"{}")
    with workspace.run("eval", inputs=[data]) as run:
        run.output(workspace.assets.put("report", "demo", b"<html>"))
    async with client(workspace) as visitor:
        found = (await visitor.get("/api/lineage/report:demo")).json()
    assert found["node"] == "report:demo:1"
    assert data.ref in {edge["source"] for edge in found["upstream"]}
    assert found["labels"][data.ref].startswith("data questions:1")


async def test_a_limit_out_of_bounds_is_refused(workspace: Workspace) -> None:
    async with client(workspace) as visitor:
        assert (await visitor.get("/api/runs", params={"limit": 100_000})).status_code == 422


def test_the_loop_takes_in_what_was_left_in_the_spool(workspace: Workspace, tmp_path: Path) -> None:
    workspace.spool.append("request", {"status": 200})
    stop = threading.Event()
    loop = threading.Thread(target=control.ingest, args=(workspace, stop))
    loop.start()
    deadline = time.monotonic() + 10
    while not (rows := workspace.sql("SELECT kind FROM events").rows) and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.set()
    loop.join()
    assert rows == [("request",)]
