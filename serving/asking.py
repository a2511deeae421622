"""A request that an engine answers: read, sent to the deployment that its model names, kept as one row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Send

from serving.admission import Gone
from serving.call import LEFT, Call
from serving.forward import forward
from serving.openai_errors import Refusal, refusal
from serving.routing import choose
from serving.visit import Visit
from workspace.errors import StudioloError

Prepare = Callable[[Visit], Awaitable[Send]]


async def ask(visit: Visit) -> None:
    """Answer as the engine does."""
    await ask_as(visit, _as_it_came)


async def ask_as(visit: Visit, prepare: Prepare) -> None:
    """Answer by an engine after `prepare` has put into the call what the engine is asked, and said where answers go."""
    call, house = visit.call, visit.house
    try:
        send = await prepare(visit)
        name = call.request.get("model")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "a request names its model", code="missing_required_parameter", param="model")
        deployment = choose(await house.models.current(), name)
        await _unless_gone(call, visit.receive, lambda: forward(call, deployment, house.engines, send, house.limits))
    except Gone:
        call.status, call.error = LEFT, "client_left"
    except StudioloError as error:
        told = refusal(error)
        call.status, call.error = told.status, told.code
        await visit.refuse(told)
    finally:
        house.workspace.spool.append("request", call.row(), event_id=call.id)


async def _as_it_came(visit: Visit) -> Send:
    await visit.read()
    return visit.send


async def _unless_gone(call: Call, receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, but end it at once wherever it stands when the client hangs up."""
    task = asyncio.current_task()
    left = False

    def leave(watch: asyncio.Task[None]) -> None:
        nonlocal left
        if task and not watch.cancelled() and not call.answered:
            left = True
            task.cancel()

    watch = asyncio.create_task(_hang_up(receive))
    watch.add_done_callback(leave)
    try:
        await work()
    except asyncio.CancelledError:
        if not left or not task:
            raise  # the gateway itself is told to stop
        task.uncancel()
        call.status, call.error = LEFT, "client_left"
    finally:
        watch.cancel()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
