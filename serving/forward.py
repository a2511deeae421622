"""The life of one request between the client and an engine, attempt by attempt.

1. Its deployment is brought up if need be. 2. The replica with most room takes it, or a short queue. 3. It goes out as
it came. 4. Bytes come back as they are made. 5. A client that leaves ends the generation. Until the first byte has
gone to the client a failure may be made good elsewhere (`serving/course.py`); from then on it is told as an event.
"""

from __future__ import annotations

import time

from starlette.types import Send

from serving.backends import Place
from serving.call import Call, Limits, headers_of
from serving.course import AGAIN, RETRIES, Course, Failed, Whole
from serving.events import Events, answer_id, error_code, finish, usage, wants_counts
from serving.openai_errors import Refusal, refusal, with_code
from serving.plane import Plane
from serving.routing import Way
from serving.upstream import Address, Answer, Broken, Slow, Stale, Unreachable
from workspace.errors import Unavailable

FINAL = b"x-should-retry"  # OpenAI's own header: "false" where asking again is no use, or may do harm
_READING = 5.0  # seconds for the text of an error
# Of the headers of an answer to /score these are told by the gateway itself; the others are the script's own.
_OURS = frozenset(
    {b"content-type", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date", b"server",
     b"retry-after", b"x-request-id", b"x-ms-request-id"}
)  # fmt: skip


async def forward(call: Call, way: Way, plane: Plane, send: Send, *, retries: int = RETRIES) -> None:
    """Answer the call; a failure is a Refusal before the first byte, an event of the stream after."""
    course = Course(call, way, plane, retries=retries)
    while True:
        try:
            await _attempt(course, plane, send)
            break
        except Failed as failed:
            if not await course.goes_on(failed):
                if failed.whole is None:
                    raise failed.refusal from failed
                await _relay(call, failed.whole, send)
                break


async def _attempt(course: Course, plane: Plane, send: Send) -> None:
    call, deployment = course.call, course.deployment
    call.deployment = deployment
    place = await _placed(course, plane)
    address, answer, good = place.address, None, None
    course.tried.append(address)
    try:
        answer = await plane.pool.send(
            address, "POST", call.asks or call.path, body=course.body, request_id=call.id,
            told=call.told + call.trace.lines if call.trace else call.told, fresh=course.fresh,
        )  # fmt: skip
        first = time.monotonic() + plane.limits.first_token
        await answer.head(call.patience(plane.limits.first_token if call.stream else plane.limits.total))
        if answer.status in AGAIN and answer.headers.get(FINAL) != b"false":
            good = answer.status == 429  # it lives, and says so
            failed = await _failed(answer, call)
            if failed.wait:
                place.rest(failed.wait)
            raise failed
        if answer.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            good = await _stream(call, answer, send, plane.limits, first)
        else:
            body = await answer.body(call.patience(plane.limits.total))
            whole = Whole(answer.status, answer.headers, with_code(body) if answer.status == 400 else body)
            good = True
            await _relay(call, whole, send)
    except Slow as error:
        good = False
        raise Refusal(504, str(error), code="timeout") from error
    except Stale as error:
        raise Failed(refusal(error), free=True, fresh=True) from error
    except Unreachable as error:
        good = False
        plane.engines.lost(deployment, address)
        raise Failed(refusal(error), free=True) from error
    except Broken as error:
        good = False
        raise _broken(course, plane, address, error) from error
    finally:
        if answer:
            answer.close()
        place.leave(good=good)


async def _placed(course: Course, plane: Plane) -> Place:
    """Return a place at one of the replicas, waited for where all are busy."""
    deployment = course.deployment
    try:
        course.addresses = await plane.engines.addresses(deployment)
        course.loaded()
        free = plane.backends.free(deployment, course.addresses, avoid=course.tried)
        return free or await plane.backends.place(deployment, course.addresses, avoid=course.tried)
    except (Refusal, Unavailable) as error:
        raise Failed(refusal(error), elsewhere=True) from error


def _broken(course: Course, plane: Plane, address: Address, error: Broken) -> Failed | Refusal:
    deployment = course.deployment
    told = Refusal(502, f"{error}: {deployment.path} could not answer", code="engine_failed")
    plane.engines.lost(deployment, address)
    # What somebody else's server has done with the request is not known; of ours, another may do it over.
    return told if deployment.engine == "openai" else Failed(told)


async def _failed(answer: Answer, call: Call) -> Failed:
    """Return a status that another attempt may turn into an answer, with what the client is told if none does."""
    try:
        body = await answer.body(call.patience(_READING))
    except (Broken, Slow):
        body = b""
    told = Refusal(answer.status, "the engine gave an error without words", code="engine_failed")
    whole = Whole(answer.status, answer.headers, body) if body else None
    after = answer.headers.get(b"retry-after", b"")
    return Failed(told, whole=whole, wait=float(after) if after.isdigit() else 0.0, once=answer.status == 500)


async def _relay(call: Call, whole: Whole, send: Send) -> None:
    body = whole.body
    call.status, call.first_byte, call.usage = whole.status, time.monotonic(), usage(body)
    call.answer_id, call.finish = call.answer_id or answer_id(body), finish(body)
    if whole.status >= 400:
        call.error = error_code(body) or ("engine_failed" if whole.status >= 500 else None)
    headers = headers_of(call)
    headers.append((b"content-type", whole.headers.get(b"content-type", b"application/json")))
    headers.append((b"content-length", b"%d" % len(body)))
    headers += [(name, whole.headers[name]) for name in (b"retry-after", FINAL) if name in whole.headers]
    if call.scored:
        headers += [(name, value) for name, value in whole.headers.items() if name not in _OURS]
    call.begun = call.answered = True
    await send({"type": "http.response.start", "status": whole.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(call: Call, answer: Answer, send: Send, limits: Limits, first: float) -> bool:
    """Pass the events on; return whether the engine ended them well. One that tells itself what failed is alive."""
    events = Events(counts_wanted=wants_counts(call.request))
    ready = b""
    while not ready:  # the status goes out with the first event, so that until then an error can have its own
        chunk = await answer.chunk(call.patience(max(0.0, first - time.monotonic())))
        if not chunk:
            raise Broken("the engine sent an empty stream")
        ready = events.feed(chunk)
    call.status, call.first_byte = answer.status, time.monotonic()
    call.answer_id = call.answer_id or answer_id(ready)
    headers = [*headers_of(call), (b"content-type", b"text/event-stream; charset=utf-8")]
    call.begun = True
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    try:
        while True:
            if ready:
                await send({"type": "http.response.body", "body": ready, "more_body": True})
            chunk = await answer.chunk(call.patience(limits.between_tokens))
            if not chunk:
                break
            ready = events.feed(chunk)
        ending = b""
    except (Broken, Slow, ValueError) as error:
        failure = Refusal(500, str(error), code="timeout" if isinstance(error, Slow) else "engine_failed")
        call.error, ending = failure.code, failure.event
    good = call.error is None
    call.usage, call.finish, call.error = events.usage, events.finish, call.error or events.error
    call.answered = True
    await send({"type": "http.response.body", "body": ending})
    return good
