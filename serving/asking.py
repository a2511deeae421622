"""A request that an engine answers: read, sent to the deployment that its model names, kept as one row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Send

from serving import trace_context
from serving.admission import Gone
from serving.api import media
from serving.call import LEFT
from serving.forward import forward
from serving.idempotency import HEADER, Recorder
from serving.kept_calls import PROPERTY
from serving.openai_errors import Refusal, refusal
from serving.routing import Way, way
from serving.visit import Visit
from workspace.errors import StudioloError

Prepare = Callable[[Visit], Awaitable[Send]]


async def ask(visit: Visit) -> None:
    """Answer as the engine does."""
    await ask_as(visit, _as_it_came)


async def ask_as(visit: Visit, prepare: Prepare) -> None:
    """Answer by an engine after `prepare` has put into the call what the engine is asked, and said where answers go."""
    call, house = visit.call, visit.house
    call.trace = trace_context.begin(visit.headers, call.id, percent=house.workspace.settings.traces)
    try:
        if HEADER in visit.headers:
            await _answer_once(visit, prepare)
        else:
            await _answer(visit, await prepare(visit))
    except Gone:
        call.status, call.error = LEFT, "client_left"
    except StudioloError as error:
        told = refusal(error)
        call.status, call.error = told.status, told.code
        await visit.refuse(told)
    finally:
        house.metrics.observe(call)
        house.rows.add(call.row())


async def read_for_engine(visit: Visit) -> dict[str, Any]:
    """Return the body, once it is known to hold nothing that no engine should see."""
    request = await visit.read()
    media.check(visit.call.body, request)
    return request


async def _as_it_came(visit: Visit) -> Send:
    await read_for_engine(visit)
    return visit.send


async def _answer_once(visit: Visit, prepare: Prepare) -> None:
    """Answer, or tell again what was answered to the same Idempotency-Key."""
    call = visit.call
    recorder = visit.send = Recorder(visit.send)
    send = await prepare(visit)
    request = call.path.encode() + b"\0" + call.body
    async with visit.house.replays.first(call.token_id, visit.headers[HEADER], request, recorder) as kept:
        if kept is None:
            await _answer(visit, send)
        else:
            call.status = kept.status
            await visit.answer_bytes(kept.body, status=kept.status, headers=kept.told, kind=kept.kind)


async def _answer(visit: Visit, send: Send) -> None:
    call, house = visit.call, visit.house
    house.watch.begin()
    name = call.request.get("model")
    if not isinstance(name, str) or not name:
        raise Refusal(400, "a request names its model", code="missing_required_parameter", param="model")
    known = await house.models.current()
    chosen = way(known, name, request=call.request, headers=visit.headers)
    call.cohort = chosen.cohort
    if call.trace:
        call.trace = trace_context.at(call.trace, known[chosen.deployment.endpoint].properties)
    await house.meters.ready(call.key)
    with house.meters.admitted(call, call.key, chosen.deployment.endpoint):
        if visit.fit:
            await _unless_gone(visit, visit.fit(chosen.deployment))
            if call.status == LEFT:
                return
        if chosen.mirror:
            house.mirror.copy(call, chosen.mirror)
        if PROPERTY in chosen.deployment.properties:
            send = house.kept.hears(call, chosen.deployment, visit.headers, send)
        await _watched(visit, chosen, send)


async def _watched(visit: Visit, chosen: Way, send: Send) -> None:
    """Answer, under the eyes of the rollout that the endpoint may be in."""
    call, watch = visit.call, visit.house.watch
    heard = watch.hears(chosen.deployment.endpoint, send)
    try:
        await _unless_gone(visit, forward(call, chosen, visit.house.plane, heard or send))
    except StudioloError as error:
        call.status = refusal(error).status
        raise
    finally:
        if heard:
            watch.observe(call, chosen.deployment, heard)


async def _unless_gone(visit: Visit, work: Awaitable[None]) -> None:
    """Do the work, but end it at once wherever it stands when the client hangs up."""
    call, task = visit.call, asyncio.current_task()
    left = False

    def leave() -> None:
        nonlocal left
        if task and not call.answered:
            left = True
            task.cancel()

    if visit.exchange is None:  # not over a network
        await work
        return
    with visit.exchange.watched(leave):
        try:
            await work
        except asyncio.CancelledError:
            if not left or not task:
                raise  # the gateway itself is told to stop
            task.uncancel()
            call.status, call.error = LEFT, "client_left"
