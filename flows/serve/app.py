"""A flow over HTTP: POST /score and what surrounds it, as an ASGI application that runs the flow in this process.

The contract is prompt flow's own, so that its clients notice nothing; the flow is an OpenAI chat model besides.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from flows import line_trace
from flows.masking import Mask
from flows.results import LineRecord
from flows.runner import Runner
from flows.serve import openai_chat as serve_openai
from flows.serve import page as serve_page
from flows.serve import score as serve_score
from flows.serve import stream as serve_stream
from flows.serve import swagger as serve_swagger
from flows.serve.http import (
    LEFT,
    Call,
    Gone,
    Message,
    Pairs,
    Receive,
    Refused,
    Send,
    answer,
    encode,
    error_body,
    read,
)
from flows.serve.lines import Lines
from flows.serve.log import FOLDER, RequestLog
from flows.serve.stream import Events
from flows.steps import Kit
from flows.streams import Stream

LARGEST_BODY = 10_000_000
AT_ONCE = 256  # lines that run at the same time; more wait
MOST = 2_048  # requests that run or wait; more are refused
LINE_TIMEOUT = 600.0
OPEN = frozenset({"/", "/health", "/version"})  # need no token
_LOOPBACK = re.compile(rb"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a flow is served. `digest` is the version that every answer names.

    With a `token`, requests must bear it; `loopback` is whether only this machine is listened to, so that a request
    for another host comes from a web page whose name was made to point here. `included` and `build` are what
    PROMPTFLOW_RESPONSE_INCLUDED_FIELDS and BUILD_INFO say.
    """

    digest: str
    token: str = ""
    loopback: bool = True
    included: str = ""
    build: str = ""


class App:
    """What lives between requests: the runner with the flow's code, and the log of what was served.

    Raises what the flow's code raises when it is imported.
    """

    def __init__(self, kit: Kit, terms: Terms) -> None:
        self.flow = kit.flow
        self.terms = terms
        self.outputs = serve_score.shown_outputs(kit.flow, terms.included)
        self.version = version("studiolo")
        self.largest_body = LARGEST_BODY
        folder = kit.home / "spool" / FOLDER if kit.home else None
        self._keeps = folder is not None
        self._runner = Runner(kit, concurrency=AT_ONCE, line_timeout=LINE_TIMEOUT)
        self.mask = Mask(kit.connections.values())
        self._log = RequestLog(folder, flow=kit.flow.name, digest=terms.digest, mask=self.mask)
        self._lines: Lines | None = None
        self._digest = (b"x-studiolo-flow", terms.digest.encode())
        self._swagger = encode(serve_swagger.describe(kit.flow, self.outputs, version=self.version)).encode()
        self._page, self._policy = serve_page.page()
        self._routes = {
            "/score": ("POST", self._score),
            "/feedback": ("POST", self._feedback),
            "/health": ("GET", self._health),
            "/version": ("GET", self._health),
            "/swagger.json": ("GET", self._describe),
            "/": ("GET", self._show),
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", self._chat),
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        call = Call(scope)
        try:
            method, route = self._routes.get(call.path, ("", self._nothing))
            self._admit(call)
            asked = "GET" if call.method == "HEAD" else call.method
            await (route if method == asked else self._nothing)(call, receive, send)
        except Gone:
            call.status = LEFT
        except Refused as refused:
            await self._refuse(call, refused, send)
        except Exception:
            log.exception("request %s failed", call.id)
            if call.begun:
                raise  # the server cuts the connection: half an answer must not pass for a whole one
            await self._refuse(call, Refused(500, "the server failed; its log says why", code="SystemError"), send)
        finally:
            if call.line is not None or call.feedback is not None:
                self._log.add(call, time.perf_counter() - call.started)

    def close(self) -> None:
        """Stop; what was served is on disk then."""
        self._log.close()
        self._runner.close()
        if self._lines:
            self._lines.close()

    @property
    def lines(self) -> Lines:
        """The way into the runner, made on the loop that serves."""
        if self._lines is None:
            self._lines = Lines(self._runner, most=MOST)
        return self._lines

    async def run(self, call: Call, inputs: Mapping[str, Any], receive: Receive, *, stream: bool) -> LineRecord:
        """Run the flow for a request; what its models record belongs to the caller's trace."""
        trace = line_trace.of_request(call.headers, kept=self._keeps)
        return await self.lines.run(inputs, receive, stream=stream, trace=trace)

    def headers(self, call: Call, kind: bytes = b"application/json") -> Pairs:
        """Return the headers of an answer: what it is, whose it is, and which version of the flow gave it."""
        return [(b"content-type", kind), (b"x-request-id", call.id.encode("latin-1")), self._digest]

    def failed(self, call: Call, message: str) -> bytes:
        """Return how a failure in the middle of a stream is told."""
        return self._said(call, serve_openai.failed(message) if _is_chat(call) else Refused(400, message))

    def _said(self, call: Call, refused: Refused) -> bytes:
        message = self.mask.text(refused.message)
        return serve_openai.error(refused, message) if _is_chat(call) else error_body(refused.code, message)

    def _admit(self, call: Call) -> None:
        host = call.headers.get(b"host", b"")
        if self.terms.loopback and not _LOOPBACK.fullmatch(host):
            raise Refused(421, "this server answers for 127.0.0.1 and localhost only")
        origin = call.headers.get(b"origin")
        if origin is not None and call.method != "GET" and origin.partition(b"://")[2] != host:
            raise Refused(403, "a page from elsewhere may not speak to this server")
        if self.terms.token and call.path not in OPEN:
            scheme, _, token = call.headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self.terms.token.encode()):
                words = "a valid token is needed: Authorization: Bearer TOKEN"
                raise Refused(401, words, headers=[(b"www-authenticate", b"Bearer")])

    async def _refuse(self, call: Call, refused: Refused, send: Send) -> None:
        headers = [*self.headers(call), *refused.headers]
        await answer(call, send, self._said(call, refused), headers, status=refused.status)

    # /score

    async def _score(self, call: Call, receive: Receive, send: Send) -> None:
        raw = await read(call, receive, largest=self.largest_body)
        accepts = call.accepts()
        wants_events, takes_json = serve_score.EVENTS in accepts, not accepts.isdisjoint(serve_score.JSON)
        if not wants_events and not takes_json:
            raise _not_acceptable(accepts, "application/json")
        inputs = serve_score.inputs_of(self.flow, raw)
        call.line = record = await self.run(call, inputs, receive, stream=wants_events)
        if (failed := serve_score.failure(record)) is not None:
            raise failed
        made = self._made(record.outputs or {})
        if wants_events and any(isinstance(value, Stream) for value in made.values()):
            await self._stream(call, made, receive, send)
            return
        if not takes_json:
            raise _not_acceptable(accepts, "application/json")
        shown = made.get("output") if serve_score.is_bare(self.flow, record) else made
        await answer(call, send, encode(shown).encode("utf-8", "surrogatepass"), self.headers(call))

    def _made(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        if self.outputs is None:
            return dict(outputs)
        return {name: value for name, value in outputs.items() if name in self.outputs}

    async def _stream(self, call: Call, made: Mapping[str, Any], receive: Receive, send: Send) -> None:
        streams = {name: value for name, value in made.items() if isinstance(value, Stream)}
        if len(streams) > 1:
            raise Refused(400, "Multiple stream output fields not supported.")
        ((name, stream),) = streams.items()
        others = {key: value for key, value in made.items() if key != name}

        async def write(events: Events) -> None:
            if others:
                await events.send(encode(others))
            async for piece in events.pieces:
                await events.send(encode({name: piece}))

        await serve_stream.respond(self, call, stream, write, receive, send)

    # The rest

    async def _chat(self, call: Call, receive: Receive, send: Send) -> None:
        await serve_openai.complete(self, call, receive, send)

    async def _models(self, call: Call, _receive: Receive, send: Send) -> None:
        await answer(call, send, encode(serve_openai.models(self.flow)).encode(), self.headers(call))

    async def _feedback(self, call: Call, receive: Receive, send: Send) -> None:
        raw = await read(call, receive, largest=self.largest_body)
        call.feedback = serve_score.feedback(raw, flatten=b"flatten=true" in call.query.lower().split(b"&"))
        await answer(call, send, b'{"status":"Feedback received."}', self.headers(call))

    async def _health(self, call: Call, _receive: Receive, send: Send) -> None:
        said: dict[str, Any] = {"status": "Healthy", "version": self.version, "flow": self.flow.name}
        said |= {"digest": self.terms.digest, "requests_not_kept": self._log.lost}
        if call.path == "/version":
            said["build_info"] = self.terms.build
        await answer(call, send, encode(said).encode(), self.headers(call))

    async def _describe(self, call: Call, _receive: Receive, send: Send) -> None:
        await answer(call, send, self._swagger, self.headers(call))

    async def _show(self, call: Call, _receive: Receive, send: Send) -> None:
        headers = self.headers(call, b"text/html; charset=utf-8")
        headers += [(b"content-security-policy", self._policy), (b"x-content-type-options", b"nosniff")]
        await answer(call, send, self._page, headers)

    async def _nothing(self, call: Call, _receive: Receive, send: Send) -> None:
        if _is_chat(call):
            raise Refused(404, f"no route {call.method} {call.path}")
        said = (
            f"The requested api {call.path[1:]!r} with {call.method} is not supported by current app, if you entered "
            "the URL manually please check your spelling and try again."
        )
        headers = self.headers(call, b"text/plain; charset=utf-8")
        await answer(call, send, said.encode("utf-8", "replace"), headers, status=404)


def _is_chat(call: Call) -> bool:
    """Whether it is OpenAI's clients that read the answer, and not prompt flow's."""
    return call.path.startswith("/v1/")


def _not_acceptable(accepts: frozenset[str], supported: str) -> Refused:
    given = ",".join(sorted(accepts))
    return Refused(406, f"Media type {given} in Accept header is not acceptable. Supported media type(s) - {supported}")
