"""Asking an endpoint from this machine: through the gateway that runs, or a private one for as long as it takes."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from serving import endpoints, scoring
from serving.endpoints import Deployment
from serving.local import Gateway, local_gateway
from serving.routing import NAMED
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.home import Workspace

LOOK = 0.3  # seconds between looks at what the answer waits for
PATIENCE = 900.0  # seconds
KNOWN = 3.0  # seconds after which a gateway knows what was made
_NAMED = NAMED.decode()


@dataclass(frozen=True, slots=True)
class Waiting:
    """No answer yet, after so many seconds; what the engines are doing, in words."""

    seconds: float
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def invoke(
    workspace: Workspace, endpoint: str, body: bytes, *, deployment: str = "", kind: str = "application/json"
) -> Iterator[Waiting | Answered]:
    """Ask an endpoint: /score where it scores, a chat where it chats. Yields while it waits; the answer comes last.

    For a chat the body is a request without its model, or a plain text that becomes the user's message.
    """
    found = endpoints.get(workspace, endpoint)
    ways = [endpoints.deployment(workspace, endpoint, deployment)] if deployment else list(found.deployments.values())
    if not ways:
        raise NotFound(f"endpoint {endpoint!r} has no deployment", hint="studiolo deployment create -f FILE")
    path, body = _request(ways[0], endpoint, body)
    headers = {"content-type": kind}
    if deployment:
        headers[_NAMED] = deployment
    with local_gateway(workspace) as gateway, ThreadPoolExecutor(1) as pool:
        yield from _waited(gateway, pool.submit(_ask, gateway, path, body, headers))


def load(workspace: Workspace, deployment: Deployment) -> Iterator[Waiting | Answered]:
    """Have the gateway bring up the engine of a scoring deployment by asking what it takes."""
    path = f"/endpoints/{deployment.endpoint}/swagger.json"
    headers = {_NAMED: deployment.name}
    with local_gateway(workspace) as gateway, ThreadPoolExecutor(1) as pool:
        yield from _waited(gateway, pool.submit(_ask_once_known, gateway, path, headers))


def _ask_once_known(gateway: Gateway, path: str, headers: Mapping[str, str]) -> Answered:
    """Ask about a deployment that was just made: the gateway looks once a second for what there is."""
    until = time.monotonic() + KNOWN
    while (answered := _ask(gateway, path, None, headers)).status == 404 and time.monotonic() < until:
        time.sleep(LOOK)
    return answered


def _request(way: Deployment, endpoint: str, body: bytes) -> tuple[str, bytes]:
    if way.engine in scoring.ENGINES:
        return f"/endpoints/{endpoint}/score", body
    try:
        request = json.loads(body)
    except ValueError:
        request = body.decode("utf-8", "replace")
    if isinstance(request, str):
        request = {"messages": [{"role": "user", "content": request}]}
    if not isinstance(request, dict):
        raise Invalid("a chat is asked by a text or a JSON object with messages")
    route = "embeddings" if "input" in request else "completions" if "prompt" in request else "chat/completions"
    return f"/v1/{route}", json.dumps({**request, "model": endpoint}).encode()


def _waited(gateway: Gateway, asked: Future[Answered]) -> Iterator[Waiting | Answered]:
    started = time.monotonic()
    while not asked.done():
        try:
            yield asked.result(LOOK)
        except TimeoutError:
            yield Waiting(time.monotonic() - started, _doing(gateway))
        else:
            return
    yield asked.result()


def _doing(gateway: Gateway) -> str:
    try:
        engines = json.loads(_ask(gateway, "/health", None, {}).body)["engines"]
    except (Unavailable, ValueError, KeyError):
        return "waiting for the gateway"
    loading = [str(each.get("name")) for each in engines if each.get("state") == "loading"]
    return f"loading {', '.join(loading)}" if loading else "waiting for the answer"


def _ask(gateway: Gateway, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answered:
    parts = urlsplit(gateway.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    given: dict[str, Any] = {"authorization": f"Bearer {gateway.token}", **headers}
    try:
        connection.request("GET" if body is None else "POST", path, body=body, headers=given)
        answer = connection.getresponse()
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"the gateway does not answer: {error}", hint="its log is in logs/ of the workspace"
        ) from None
    finally:
        connection.close()
