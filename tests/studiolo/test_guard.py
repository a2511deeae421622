"""The guard in front of the control plane, walked along every route."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi.routing import APIRoute

from studiolo.control import create_app, routes
from studiolo.guard import Guard
from studiolo.triggers import PATH
from workspace.home import Workspace
from workspace.tokens import Role

PORT = 8401
OWN = f"http://127.0.0.1:{PORT}"


def client(workspace: Workspace, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(workspace, port=PORT))
    return httpx.AsyncClient(transport=transport, base_url=OWN, headers=headers)


def bearer(workspace: Workspace) -> dict[str, str]:
    return {"Authorization": f"Bearer {workspace.tokens.local()}"}


async def test_every_route_but_health_answers_401_without_a_token(workspace: Workspace) -> None:
    known = [each for each in routes(workspace).routes if isinstance(each, APIRoute)]
    assert len(known) >= 7
    async with client(workspace) as visitor:
        for route in known:
            path = re.sub(r"{.*?}", "x", route.path)
            for method in route.methods or ():
                answer = await visitor.request(method, path)
                assert answer.status_code == (200 if path == "/health" else 401), (method, path)
        for path in ("/", "/api/openapi.json", "/docs", "/health/", "//health"):
            assert (await visitor.get(path)).status_code == 401, path


async def test_a_wrong_token_and_none_are_answered_alike(workspace: Workspace) -> None:
    async with client(workspace) as visitor:
        without = await visitor.get("/api/runs")
        wrong = await visitor.get("/api/runs", headers={"Authorization": "Bearer st_0_wrong"})
    assert (without.status_code, without.text) == (wrong.status_code, wrong.text)


async def test_a_valid_token_opens_every_route(workspace: Workspace) -> None:
    async with client(workspace, **bearer(workspace)) as visitor:
        for path in ("/api/status", "/api/runs", "/api/assets", "/api/endpoints", "/api/openapi.json"):
            answer = await visitor.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("role", ["viewer", "contributor", "admin"])
async def test_every_role_may_read_and_no_route_changes_anything(workspace: Workspace, role: Role) -> None:
    found = [each for each in routes(workspace).routes if isinstance(each, APIRoute)]
    known = [each for each in found if not each.path.startswith(PATH)]  # who may trigger: test_triggers.py
    assert {method for route in known for method in route.methods or ()} == {"GET"}  # else say here who may use it
    async with client(workspace, Authorization=f"Bearer {workspace.tokens.create('x', role)}") as visitor:
        for route in known:
            assert (await visitor.get(re.sub(r"{.*?}", "x", route.path))).status_code in (200, 404), route.path


async def test_a_revoked_token_opens_nothing(workspace: Workspace) -> None:
    token = workspace.tokens.create("guest")
    workspace.tokens.revoke(token.split("_")[1])
    async with client(workspace, Authorization=f"Bearer {token}") as visitor:
        assert (await visitor.get("/api/runs")).status_code == 401


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "evil.test:8401", "localhost@evil.test", ""])
async def test_a_foreign_host_is_refused_even_with_a_token(workspace: Workspace, host: str) -> None:
    async with client(workspace, **bearer(workspace)) as visitor:
        assert (await visitor.get("/api/runs", headers={"Host": host})).status_code == 421
        assert (await visitor.get("/health", headers={"Host": host})).status_code == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.test", "null", "http://127.0.0.1:9999", f"{OWN}.evil.test", "http://localhost.evil.test:8401"],
)
async def test_a_foreign_page_may_change_nothing(workspace: Workspace, origin: str) -> None:
    async with client(workspace, **bearer(workspace)) as visitor:
        assert (await visitor.post("/api/runs", headers={"Origin": origin})).status_code == 403


async def test_a_cookie_alone_may_read_but_change_only_from_our_own_pages(workspace: Workspace) -> None:
    async def empty(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    token = workspace.tokens.local()
    check = workspace.tokens.check
    app = Guard(empty, check=check, port=PORT, cookie="studio", check_cookie=check)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=OWN, cookies={"studio": token}) as visitor:
        assert (await visitor.get("/")).status_code == 204
        assert (await visitor.post("/")).status_code == 403
        assert (await visitor.post("/", headers={"Origin": OWN})).status_code == 204
        assert (await visitor.post("/", headers={"Origin": "http://127.0.0.1:1"})).status_code == 403


async def test_a_large_body_is_refused(workspace: Workspace) -> None:
    async with client(workspace, **bearer(workspace)) as visitor:
        assert (await visitor.post("/api/runs", content=b"x" * 10_000_001)).status_code == 413
