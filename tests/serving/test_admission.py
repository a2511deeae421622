"""Who is let in, over the application without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from serving.gateway import create_app
from serving.local import Gateway
from serving.routes import FORWARDED
from workspace.home import Workspace

CHAT = "/v1/chat/completions"


@pytest.fixture
async def http(workspace: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(workspace))
    headers = {"authorization": f"Bearer {workspace.tokens.local()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8400", headers=headers) as client:
        yield client


@pytest.mark.parametrize("path", [*FORWARDED, "/v1/models", "/v1/models/x", "/", "/metrics", "/v1/pause"])
@pytest.mark.parametrize("value", ["", "Bearer", "Bearer st_0_0", "Basic abc", "Bearer \xff", "Bearer a b"])
async def test_without_a_valid_token_every_route_says_the_same(http: httpx.AsyncClient, path: str, value: str) -> None:
    method = "POST" if path in FORWARDED else "GET"
    response = await http.request(method, path, headers=[(b"authorization", value.encode("latin-1"))])
    assert response.status_code == 401
    assert response.json()["error"] == {
        "message": "a valid token is needed: Authorization: Bearer TOKEN",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_api_key",
    }


async def test_a_revoked_token_closes_within_five_seconds(http: httpx.AsyncClient, workspace: Workspace) -> None:
    token = workspace.tokens.create("guest")
    headers = {"authorization": f"Bearer {token}"}
    assert (await http.get("/v1/models", headers=headers)).status_code == 200
    workspace.tokens.revoke(token.split("_")[1])
    await asyncio.sleep(2.1)
    assert (await http.get("/v1/models", headers=headers)).status_code == 401


async def test_health_needs_no_token_and_says_what_runs(http: httpx.AsyncClient) -> None:
    response = await http.get("/health", headers={"authorization": ""})
    assert response.json() == {"status": "ok", "service": "gateway", "engines": []}


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "127.0.0.1:80@evil.test", "", "0.0.0.0:8400"])
async def test_another_host_is_refused_before_anything_else(http: httpx.AsyncClient, host: str) -> None:
    for path in ("/health", "/v1/models"):
        assert (await http.get(path, headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8400", "LOCALHOST", "[::1]:8400"])
async def test_this_machine_is_let_in_by_all_its_names(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_of_a_web_page_can_send_is_refused(http: httpx.AsyncClient, kind: str) -> None:
    response = await http.post(CHAT, content=b"{}", headers={"content-type": kind})
    assert response.status_code == 415


async def test_no_answer_allows_another_origin(http: httpx.AsyncClient) -> None:
    response = await http.get("/v1/models", headers={"origin": "http://evil.test"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert (await http.options(CHAT, headers={"origin": "http://evil.test"})).status_code == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"])
async def test_a_body_that_is_no_json_object_is_a_400(http: httpx.AsyncClient, body: bytes) -> None:
    response = await http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": 7}, {"model": ""}])
async def test_a_request_without_a_model_names_the_field(http: httpx.AsyncClient, model: dict[str, object]) -> None:
    response = await http.post(CHAT, json={"messages": [], **model})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "model")


async def test_a_body_over_ten_megabytes_is_refused_stated_or_not(http: httpx.AsyncClient) -> None:
    async def unstated() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 1_000_000

    headers = {"content-type": "application/json"}
    assert (await http.post(CHAT, content=b" " * 11_000_000, headers=headers)).status_code == 413
    assert (await http.post(CHAT, content=unstated(), headers=headers)).status_code == 413


async def test_only_the_listed_routes_exist(http: httpx.AsyncClient) -> None:
    for path in ("/", "/docs", "/v1", "/v1/chat", "/v1/chat/completions/", "/pause", "/invocations", "/v1/models/../x"):
        response = await http.post(path, json={})
        assert response.status_code in (404, 405), path
        assert response.json()["error"]["message"]


async def test_an_unknown_model_is_a_404_that_names_the_known_ones(
    http: httpx.AsyncClient, workspace: Workspace
) -> None:
    workspace.assets.put("model", "tiny", b"x", properties={"task": "chat"})
    error = (await http.post(CHAT, json={"model": "tinny"})).json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == "no model 'tinny'; known: tiny"


async def test_a_request_keeps_the_id_it_was_given_if_it_is_harmless(http: httpx.AsyncClient) -> None:
    given = await http.get("/health", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = await http.get("/health", headers={"x-request-id": "a b<script>"})
    assert len(made.headers["x-request-id"]) == 32


async def test_no_token_is_written_anywhere(http: httpx.AsyncClient, workspace: Workspace) -> None:
    token = workspace.tokens.create("guest")
    await http.post(CHAT, json={"model": "x"}, headers={"authorization": f"Bearer {token}"})
    secret = token.split("_", 2)[2].encode()
    kept = [path for path in workspace.home.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert kept == []


@pytest.mark.model
def test_the_door_over_a_network_keeps_its_promise_on_size(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {gateway.token}", "content-type": "application/json"}
    url = f"{gateway.base_url}/chat/completions"
    assert httpx.post(url, content=b" " * 11_000_000, headers=headers).status_code == 413
