"""The gateway's OpenAPI document, and Schemathesis over it: whatever is sent, the gateway never fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis.core.result import Ok

from serving.local import Gateway
from serving.routes import table
from tests.serving.chats import chat, telling

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
CHAT = "smollm2-135m-instruct"
SHORT = {"max_tokens": 2, "max_completion_tokens": 2, "max_output_tokens": 16, "n": 1}


async def test_the_document_has_every_route_of_the_table(house: House) -> None:
    document = (await house.http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(route.method, route.path.replace(":path", "")) for route in table()}
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))


def test_every_schema_in_it_is_one() -> None:
    for route in table():
        for schema in (route.request, route.response, *route.query.values()):
            jsonschema_rs.meta.validate(dict(schema or {}))


def test_what_official_clients_send_fits_the_schemas() -> None:
    known = {route.path: route.request for route in table() if route.method == "POST"}
    for path, body in {
        "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True},
        "/v1/responses": {"model": "m", "input": [{"role": "user", "content": "x"}]},
        "/v1/messages": {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]},
        "/v1/embeddings": {"model": "m", "input": ["a", "b"], "encoding_format": "base64"},
    }.items():
        fits = jsonschema_rs.validator_for(dict(known[path] or {})).is_valid
        assert fits(body)
        assert not fits({})


@dataclass
class Torment:
    """Right and wrong requests to every route of a gateway; `failed` are those that made it fail."""

    base_url: str
    token: str
    model: str
    examples: int  # of each route and each mode
    fixed: Mapping[str, object] = field(default_factory=dict)  # fields that every body has
    failed: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Send them all."""
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.base_url, headers=headers, timeout=30) as client:
            schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
            for found in schema.get_all_operations():
                assert isinstance(found, Ok), found
                for mode in MODES:
                    self._try(client, found.ok().as_strategy(generation_mode=mode))

    def _try(self, client: httpx.Client, cases: SearchStrategy[Any]) -> None:
        @given(case=cases)
        @settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def send(case: Any) -> None:
            self._send(client, case)

        with suppress(Unsatisfiable):  # nothing can be wrong about a request without fields
            send()

    def _send(self, client: httpx.Client, case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body |= {"model": self.model, **self.fixed}  # so that it goes further than to its name
        told = case.as_transport_kwargs(base_url=self.base_url)
        told.pop("cookies", None)
        told["headers"] = {name: text for name, text in told["headers"].items() if name.lower() != "authorization"}
        if isinstance(body := told.pop("data", None), bytes | str):
            told["content"] = body
        try:
            answer = client.request(**told)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
            return  # nothing that could be sent
        self.statuses.add(answer.status_code)
        if answer.status_code >= 500:
            self.failed.append(f"{answer.status_code} {case.as_curl_command()} -> {answer.text[:300]}")


async def test_nothing_that_schemathesis_thinks_of_makes_the_gateway_fail(house: House) -> None:
    tell = telling(chat("Hi"))

    async def engine(wire: Wire) -> None:
        await (wire.json({"count": 1}) if wire.path == "/tokenize" else tell(wire))

    house.upstream.script = engine
    torment = Torment(house.base_url, house.token, "mock", examples=8)
    await asyncio.to_thread(torment.run)
    assert torment.failed == []
    assert torment.statuses >= {200, 400, 404}
    assert {wire.path for wire in house.upstream.wires} >= {"/v1/chat/completions", "/v1/embeddings", "/tokenize"}


@pytest.mark.model
def test_nothing_that_schemathesis_thinks_of_makes_a_real_engine_fail(gateway: Gateway) -> None:
    torment = Torment(gateway.base_url.removesuffix("/v1"), gateway.token, CHAT, examples=2, fixed=SHORT)
    torment.run()
    assert torment.failed == []
    assert torment.statuses >= {200, 400}
