"""The gateway's table of routes: what is in it answers by its method, what is not does not exist, nor by tricks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from serving.call import Call, headers_of
from serving.endpoints import Deployment
from serving.openai_errors import Refusal
from serving.routes import FORWARDED, table
from tests.serving.chats import chat, telling

if TYPE_CHECKING:
    from serving.table import Route
    from tests.serving.conftest import House

ROUTES = list(table())
BODY = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}
JSON = {"content-type": "application/json"}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def path_of(route: Route) -> str:
    return route.path.replace("{id:path}", "x").replace("{id}", "x").replace("{name}", "x")


@pytest.mark.parametrize("path", sorted(FORWARDED))
async def test_what_an_engine_answers_is_asked_by_the_same_path(house: House, path: str) -> None:
    assert (await house.http.post(path, json=BODY)).status_code == 200
    assert house.upstream.wires[0].path == path


@pytest.mark.parametrize(
    "path",
    [
        *("/pause", "/resume", "/sleep", "/wake_up", "/is_sleeping", "/update_weights", "/init_weight_transfer_engine"),
        *("/invocations", "/ping", "/abort_requests", "/reset_prefix_cache", "/collective_rpc", "/server_info"),
        *("/load", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/start_profile", "/inference/v1/generate"),
        *("/classify", "/pooling", "/v1/audio/transcriptions", "/docs", "/", "/v1", "/v1/chat"),
        *("/v1/chat/completions/", "//v1/chat/completions", "/V1/chat/completions", "/v1/chat/completions;x=1"),
        *("/v1/chat/completions%2f..%2fpause", "/v1/chat/completions/%2e%2e/pause", "/v1/chat/completions%00"),
        *("/v1%2fchat%2fcompletions/../pause", "/tokenize/../pause", "/v1/responses/a/b"),
    ],
)
async def test_what_is_not_in_the_table_is_404_whatever_the_engine_has(house: House, path: str) -> None:
    for method in ("POST", "GET", "PUT"):
        url = httpx.URL(house.base_url).copy_with(raw_path=path.encode())
        answer = await house.http.request(method, url, json=BODY if method == "POST" else None)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"
    assert house.upstream.wires == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_but_the_open_ones_asks_for_a_token(house: House, route: Route) -> None:
    answer = await house.http.request(route.method, path_of(route), headers={"authorization": ""})
    assert answer.status_code == (200 if route.scope == "open" else 401)


@pytest.mark.parametrize("path", sorted({path_of(route) for route in ROUTES}))
async def test_another_method_is_405_and_says_which_are_taken(house: House, path: str) -> None:
    known = {route.method for route in ROUTES if path_of(route) == path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - known:
        answer = await house.http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == ", ".join(sorted(known))
        assert answer.json()["error"]["message"]


async def test_errors_of_every_kind_are_in_openais_shape(house: House) -> None:
    send = house.http.request
    answers = {
        400: await send("POST", "/v1/responses", json={"model": "mock"}),
        401: await send("GET", "/v1/models", headers={"authorization": "Bearer x"}),
        404: await send("GET", "/nothing"),
        405: await send("PUT", "/v1/models"),
        413: await send(
            "POST", "/v1/responses", content=b" " * 11_000_000, headers={"content-type": "application/json"}
        ),
        415: await send("POST", "/v1/responses", content=b"{}", headers={"content-type": "text/plain"}),
        421: await send("GET", "/v1/models", headers={"host": "evil.test"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"]
        assert answer.headers["openai-processing-ms"].isdigit()


async def test_the_headers_say_which_request_it_was_how_long_it_took_and_who_answered(house: House) -> None:
    for stream in (False, True):
        answer = await house.http.post("/v1/chat/completions", json={**BODY, "stream": stream})
        assert answer.headers["x-request-id"]
        assert answer.headers["openai-processing-ms"].isdigit()
        assert answer.headers["x-studiolo-deployment"] == "mock/blue"
        assert answer.headers["x-studiolo-model"] == "m"


def test_a_flow_tells_its_version_and_a_cohort_its_name() -> None:
    call = Call(id="1", path="/v1/chat/completions", token_id="t", cohort="17")
    call.deployment = Deployment(endpoint="greet", name="blue", engine="flow", model="flow:greet:3")
    told = dict(headers_of(call))
    assert (told[b"x-studiolo-flow-version"], told[b"x-studiolo-cohort"]) == (b"3", b"17")


async def test_the_id_of_a_model_may_hold_slashes(house: House) -> None:
    assert (await house.client.models.retrieve("mock/blue")).id == "mock/blue"
    for path in ("/v1/models/mock/blue", "/v1/models/mock%2Fblue"):
        assert (await house.http.get(path)).json()["id"] == "mock/blue"
    assert (await house.http.get("/v1/models/mock/green/blue")).status_code == 404


def parts(*content: dict[str, Any]) -> dict[str, Any]:
    return {"model": "mock", "messages": [{"role": "user", "content": list(content)}]}


IMAGE = {"type": "image_url", "image_url": {"url": "?"}}
ADDRESSES = ["http://127.0.0.1:9/x.png", "https://e.test/x", "file:///etc/passwd", " FTP://x", "x"]


def item(**part: Any) -> dict[str, Any]:
    return {"model": "mock", "input": [{"role": "user", "content": [part]}]}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", parts(IMAGE), "image_url.url"),
        ("/v1/chat/completions", parts({"type": "image_url", "image_url": "?"}), "image_url"),
        ("/v1/chat/completions", parts({"type": "text", "text": "x"}, {"video_url": {"url": "?"}}), "video_url.url"),
        ("/v1/chat/completions", parts({"type": "audio_url", "audio_url": {"url": "?"}}), "audio_url.url"),
        ("/tokenize", parts(IMAGE), "image_url.url"),
        ("/v1/embeddings", parts(IMAGE), "image_url.url"),
        ("/v1/responses", item(type="input_image", image_url="?"), "image_url"),
        ("/v1/responses", item(type="input_file", file_url="?"), "file_url"),
        ("/v1/score", {"model": "mock", "text_1": "x", "text_2": {"content": [IMAGE]}}, "image_url.url"),
    ],
)
async def test_an_address_that_an_engine_would_fetch_is_refused_by_the_name_of_its_part(
    house: House, path: str, body: dict[str, Any], param: str, address: str
) -> None:
    answer = await house.http.post(path, content=json.dumps(body).replace('"?"', json.dumps(address)), headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].endswith(param)
    assert answer.json()["error"]["code"] == "media_url_refused"
    assert house.upstream.wires == []


async def test_a_key_spelled_in_escapes_hides_nothing(house: House) -> None:
    body = json.dumps(parts({"type": "image_url", "image_url": {"url": "http://x"}}))
    hidden = body.replace('"image_url": {', '"\\u0069mage_\\u0075rl": {').replace('"url"', '"\\u0075rl"')
    assert (await house.http.post("/v1/chat/completions", content=hidden, headers=JSON)).status_code == 400


@pytest.mark.parametrize("name", ["image_embeds", "audio_embeds"])
async def test_tensors_of_clients_are_refused(house: House, name: str) -> None:
    answer = await house.http.post("/v1/chat/completions", json=parts({"type": name, name: "gASV"}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, f"messages.0.content.0.{name}")


async def test_media_in_the_request_itself_and_addresses_that_nobody_fetches_pass(house: House) -> None:
    house.upstream.script = telling(chat("Nice."))
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"image_url": {"default": "http://x"}}}},
    }
    body = {**parts(picture), "tools": [tool], "metadata": {"image_url": "http://x"}}
    assert (await house.http.post("/v1/chat/completions", json=body)).status_code == 200
    assert house.upstream.wires[0].request["messages"][0]["content"] == [picture]
    asked = item(type="input_image", image_url=PICTURE)
    assert (await house.http.post("/v1/responses", json=asked)).status_code == 200
    assert house.upstream.wires[1].request["messages"][0]["content"][0]["image_url"]["url"] == PICTURE


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("levels", [70, 900, 50_000])
async def test_a_body_without_a_bottom_is_refused(house: House, path: str, levels: int) -> None:
    body = b'{"model": "mock", "max_tokens": 9, "input": "x", "messages": ' + b"[" * levels + b"]" * levels + b"}"
    answer = await house.http.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert house.upstream.wires == []


async def test_half_an_emoji_in_a_body_stops_nothing(house: House) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        body = '{"model": "\\ud83d", "max_tokens": 9, "input": "\\ud83d", "messages": [{"role": "\\ud83d"}]}'
        assert (await house.http.post(path, content=body, headers=JSON)).status_code in (400, 404)


def test_a_refusal_with_half_an_emoji_is_still_told() -> None:
    assert b"?" in Refusal(400, "no \ud83d", code="x").body
