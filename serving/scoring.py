"""The scoring contract of Azure ML's online endpoints at the gateway: /score and /swagger.json, its headers, its codes.

`POST /endpoints/NAME/score` names the endpoint. On plain `/score` the header `azureml-endpoint` does; else it is the
one that the key may ask, or the only one there is. From there a request goes the way of every other: traffic, queue,
copies and rows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.types import Send

from serving import endpoints
from serving.admission import Headers, read_raw
from serving.asking import ask_as
from serving.call import MODEL_ERROR, Call
from serving.deployment_settings import SCORING
from serving.endpoints import Endpoint
from serving.openai_errors import Refusal
from serving.routing import NAMED, way
from serving.table import Route
from serving.visit import Visit

ENDPOINT = b"azureml-endpoint"  # the header that names the endpoint on plain /score
ENGINES = ("script", "mlflow", "flow")  # those that answer /score
TOLD = b"x-studiolo-request"  # how a scoring engine learns of method, query and headers
LONGEST_REASON = 1_000  # letters
_KEPT_BACK = frozenset({b"authorization", b"cookie", b"host", b"connection", b"content-length", b"transfer-encoding"})


async def score(visit: Visit) -> None:
    """Answer by the script, model or flow that the traffic chooses."""
    visit.send = _Told(visit.send, visit.call)
    await ask_as(visit, _prepared)


async def describe(visit: Visit) -> None:
    """Show what a deployment takes and answers."""
    visit.send = _Told(visit.send, visit.call)
    house, call = visit.house, visit.call
    known = await house.models.current()
    chosen = way(known, _endpoint(visit, known).name, request={}, headers=visit.headers).deployment
    call.deployment = chosen
    _check_engine(chosen)
    addresses = await house.engines.addresses(chosen)
    query = f"?{visit.query.decode('latin-1')}" if visit.query else ""
    answer = await house.plane.pool.send(addresses[0], "GET", f"/swagger.json{query}", request_id=call.id)
    try:
        await answer.head(house.limits.first_token)
        body = await answer.body(house.limits.first_token)
        await visit.answer_bytes(body, status=answer.status)
    finally:
        answer.close()


async def _prepared(visit: Visit) -> Send:
    known = await visit.house.models.current()
    endpoint = _endpoint(visit, known)
    call = visit.call
    call.body = await read_raw(visit.headers, visit.receive, limit=visit.house.limits.body)
    call.request = {"model": endpoint.name}
    call.scored, call.asks = True, "/score"
    for deployment in _reachable(endpoint, visit.headers):
        _check_engine(deployment)
        if deployment.engine in SCORING:
            call.told = _told(visit)
    return _ModelErrors(visit.send, call)


def _endpoint(visit: Visit, known: Mapping[str, Endpoint]) -> Endpoint:
    name = visit.values.get("name") or visit.headers.get(ENDPOINT, b"").decode("latin-1")
    allowed = visit.call.key.endpoints if visit.call.key else None
    if name and allowed is not None and name not in allowed:
        raise Refusal(403, f"this key may not ask {name!r}", code="model_not_allowed")
    made = {each.name: each for each in known.values() if each.made and each.kind == "online"}
    made = {each: found for each, found in made.items() if allowed is None or each in allowed}
    if not name and len(made) == 1:
        return next(iter(made.values()))
    if not name:
        what = "several endpoints are here" if made else "no endpoint is here"
        names = f": name one of {', '.join(sorted(made))}" if made else ""
        raise Refusal(404, f"{what}{names} as /endpoints/NAME/score or in azureml-endpoint", code="no_endpoint")
    if name not in known or known[name].kind != "online":
        names = ", ".join(sorted(made)) or "none yet"
        raise Refusal(404, f"no endpoint {name!r}; known: {names}", code="no_endpoint")
    return known[name]


def _reachable(endpoint: Endpoint, headers: Headers) -> list[endpoints.Deployment]:
    """The deployments that may be chosen; a Refusal 404 where none gets traffic."""
    if headers.get(NAMED):
        return [way({endpoint.name: endpoint}, endpoint.name, request={}, headers=headers).deployment]
    ways = endpoint.deployments
    found = [ways[name] for name, part in endpoint.traffic.items() if part and name in ways]
    if not found and len(ways) != 1:
        raise Refusal(404, f"no deployment of {endpoint.name!r} gets traffic", code="no_traffic")
    return found or list(ways.values())


def _check_engine(deployment: endpoints.Deployment) -> None:
    if deployment.engine not in ENGINES:
        what = f"{deployment.path} is run by {deployment.engine} and has no /score"
        raise Refusal(400, f"{what}: POST /v1/chat/completions with model {deployment.path!r}", code="no_score")


def _told(visit: Visit) -> bytes:
    """What of the request is not its body, for engines whose code may ask for it."""
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in visit.headers.items()
        if name not in _KEPT_BACK
    }
    value = {"method": visit.method, "query": visit.query.decode("latin-1"), "headers": headers}
    return TOLD + b": " + base64.b64encode(json.dumps(value).encode()) + b"\r\n"


class _Told:
    """Adds what clients of Azure ML look for; a request that took too long is 408 to them."""

    def __init__(self, send: Send, call: Call) -> None:
        self._send = send
        self._call = call

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"x-ms-request-id", self._call.id.encode())]
            if way := self._call.deployment:
                headers.append((NAMED, way.name.encode("latin-1", "replace")))
            status = 408 if message["status"] == 504 else message["status"]
            if status == 408:
                self._call.status = status
            message = {**message, "status": status, "headers": headers}
        await self._send(message)


class _ModelErrors:
    """Turns an engine's answer that is none into 424, with the engine's own status and words in two headers."""

    def __init__(self, send: Send, call: Call) -> None:
        self._send = send
        self._call = call
        self._head: MutableMapping[str, Any] | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and not 200 <= message["status"] < 300:
            self._head = message  # goes out with the words of the body
            return
        if (head := self._head) is not None:
            self._head = None
            told = [
                (b"ms-azureml-model-error-statuscode", b"%d" % head["status"]),
                (b"ms-azureml-model-error-reason", _reason(message.get("body", b""))),
            ]
            self._call.status, self._call.error = MODEL_ERROR, "model_error"
            await self._send({**head, "status": MODEL_ERROR, "headers": [*head["headers"], *told]})
        await self._send(message)


def _reason(body: bytes) -> bytes:
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        error = found.get("error") if isinstance(found, dict) else None
        text = str(error.get("message") if isinstance(error, dict) else error or text)
    except ValueError:
        pass  # the code behind has answered in words
    return " ".join(text.split())[:LONGEST_REASON].encode("ascii", "replace") or b"no words"


def _rows(path: str) -> list[Route]:
    summary = "Score by a script, a model logged by MLflow or a flow"
    anything: Mapping[str, Any] = {"description": "What the deployment takes; /swagger.json says it."}
    return [
        Route(path=f"{path}/score", method="POST", answer=score, scope="ask", summary=summary, request=anything),
        Route(path=f"{path}/score", method="GET", answer=score, scope="ask", summary=summary),
        Route(path=f"{path}/swagger.json", method="GET", answer=describe, scope="look", summary="What /score takes"),
    ]


ROUTES = (*_rows("/endpoints/{name}"), *_rows(""))
