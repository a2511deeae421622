"""The life of one chat, completion or embedding request between the client and an engine.

1. The model names an endpoint, its traffic a deployment. 2. The engine is brought up if need be. 3. The request goes
out as it came. 4. Bytes come back as they are made. 5. A client that leaves ends the generation. 6. One row is kept.
"""

from __future__ import annotations

import json
import time

from starlette.types import Send

from serving import upstream
from serving.call import Call, Limits, headers_of
from serving.endpoints import Deployment
from serving.events import Events, asking_for_counts, usage, wants_counts
from serving.openai_errors import Refusal
from serving.readiness import Engines
from serving.upstream import Answer, Broken, Slow, Unreachable


async def forward(call: Call, deployment: Deployment, engines: Engines, send: Send, limits: Limits) -> None:
    """Answer the call by the deployment; a failure is a Refusal before the first byte, an event of the stream after."""
    call.deployment = deployment
    answer: Answer | None = None
    try:
        seconds = limits.first_token if call.stream else limits.total
        answer = await _sent(call, deployment, engines)
        try:
            await answer.head(call.patience(seconds, limits))
        except Broken:
            if deployment.engine == "openai":  # somebody else's: what it has done with the request is not known
                raise
            # An engine of ours that died as the request came: nobody has seen an answer, so a new engine may give one.
            answer.close()
            engines.lost(deployment)
            answer = await _sent(call, deployment, engines)
            await answer.head(call.patience(seconds, limits))
        if answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            await _stream(call, answer, send, limits)
        else:
            await _whole(call, answer, send, limits)
    except Slow as error:
        raise Refusal(504, str(error), code="timeout") from error
    except Unreachable:
        raise
    except Broken as error:
        engines.lost(deployment)
        raise Refusal(502, f"{error}: {deployment.path} could not answer", code="engine_failed") from error
    finally:
        if answer:
            answer.close()


async def _sent(call: Call, deployment: Deployment, engines: Engines) -> Answer:
    body = _outgoing(call, deployment)
    address = await engines.address(deployment)
    try:
        return await upstream.send(address, "POST", call.asks or call.path, body=body, request_id=call.id)
    except Unreachable:
        # The engine died since it was last used: nobody has seen the request, so a new engine may.
        engines.lost(deployment)
        address = await engines.address(deployment)
        return await upstream.send(address, "POST", call.asks or call.path, body=body, request_id=call.id)


def _outgoing(call: Call, deployment: Deployment) -> bytes:
    """Return the body as it came, or with the model's name at the engine and a request for the token counts."""
    name = deployment.model if deployment.engine == "openai" else deployment.model.split(":")[1]
    counted = not call.stream or wants_counts(call.request)
    if counted and call.request["model"] == name:
        return call.body
    request = {**call.request, "model": name}
    return json.dumps(request if counted else asking_for_counts(request)).encode()


async def _whole(call: Call, answer: Answer, send: Send, limits: Limits) -> None:
    body = await answer.body(call.patience(limits.total, limits))
    call.status, call.first_byte, call.usage = answer.status, time.monotonic(), usage(body)
    headers = headers_of(call)
    headers.append((b"content-type", answer.headers.get(b"content-type", b"application/json")))
    headers.append((b"content-length", b"%d" % len(body)))
    if b"retry-after" in answer.headers:
        headers.append((b"retry-after", answer.headers[b"retry-after"]))
    call.begun = call.answered = True
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(call: Call, answer: Answer, send: Send, limits: Limits) -> None:
    events = Events(counts_wanted=wants_counts(call.request))
    ready = b""
    while not ready:  # the status goes out with the first event, so that until then an error can have its own
        chunk = await answer.chunk(call.patience(limits.first_token, limits))
        if not chunk:
            raise Broken("the engine sent an empty stream")
        ready = events.feed(chunk)
    call.status, call.first_byte = answer.status, time.monotonic()
    headers = [*headers_of(call), (b"content-type", b"text/event-stream; charset=utf-8")]
    call.begun = True
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    try:
        while True:
            if ready:
                await send({"type": "http.response.body", "body": ready, "more_body": True})
            chunk = await answer.chunk(call.patience(limits.between_tokens, limits))
            if not chunk:
                break
            ready = events.feed(chunk)
        ending = b""
    except (Broken, Slow, ValueError) as error:
        failure = Refusal(500, str(error), code="timeout" if isinstance(error, Slow) else "engine_failed")
        call.error, ending = failure.code, failure.event
    call.usage = events.usage
    call.answered = True
    await send({"type": "http.response.body", "body": ending})
