"""The HTTP of an engine: OpenAI's routes for the one model it holds, and /health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.engines.adapter_routes import asked_for, loading_adapters
from serving.engines.adapters import Adapter
from serving.engines.chat import Answers, ChatModel
from serving.engines.embedding import EmbeddingModel, as_base64
from serving.engines.fields import parse
from serving.engines.replies import Gathered, Telling, Told, best
from serving.engines.requests import Chat, Completion, Options, read_chat, read_completion, read_embedding
from serving.engines.rerank import Cosines, CrossEncoder
from serving.engines.rerank_routes import scoring
from serving.engines.scheduler import Event
from serving.engines.shapes import DONE, Reply, usage
from serving.engines.tokenizing import tokenizing
from serving.engines.tool_calls import Said
from serving.openai_errors import Refusal

CLOSED = 499  # what proxies log when the client has gone; nobody reads it


def create_app(model: ChatModel | EmbeddingModel | CrossEncoder, *, name: str) -> Starlette:
    """Return the application that answers for `model` under its `name`."""
    routes = _routes(model, name)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        if isinstance(model, ChatModel):
            model.scheduler.close()

    return Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={Refusal: _refused, HTTPException: _http_error, Exception: _crashed},
    )


def _routes(model: ChatModel | EmbeddingModel | CrossEncoder, name: str) -> list[Route]:
    if isinstance(model, ChatModel):
        return _chat_routes(model, name)
    return _embedding_routes(model, name) if isinstance(model, EmbeddingModel) else _rerank_routes(model, name)


def _chat_routes(model: ChatModel, name: str) -> list[Route]:
    async def health(_: Request) -> Response:
        running = model.scheduler
        state = {"status": "failed" if running.failure else "ok", "model": name, "task": "chat"}
        counts = {"active": running.active, "waiting": running.waiting, "context_length": model.context_length}
        return JSONResponse({**state, **counts}, status_code=503 if running.failure else 200)

    async def chat(request: Request) -> Response:
        body = parse(await request.body())
        return await answer(request, read_chat(body), asked_for(model.adapters, body))

    async def completions(request: Request) -> Response:
        body = parse(await request.body())
        return await answer(request, read_completion(body), asked_for(model.adapters, body))

    async def answer(request: Request, ask: Chat | Completion, adapter: Adapter | None) -> Response:
        prompts = model.prompts(ask)
        answers = model.answers(prompts, ask.options, await model.prepare(ask), adapter)
        each = [Telling(ask, prompt, model.vocabulary) for prompt in prompts for _ in range(ask.options.best_of)]
        reply = Reply(
            kind="chat" if isinstance(ask, Chat) else "text",
            model=adapter.name if adapter else name,
            fingerprint=model.fingerprint,
            include_usage=ask.options.include_usage,
        )
        watch = asyncio.create_task(_cancel_when_gone(request, answers))
        if ask.options.stream:
            return await _stream(answers, each, reply, watch)
        return await _whole(answers, [Gathered(telling) for telling in each], ask.options, reply, watch)

    return [
        Route("/health", health),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        Route("/v1/embeddings", _not_here(f"{name!r} is a chat model; it does not embed"), methods=["POST"]),
        *tokenizing(model.tokenizer, model.context_length, model.template),
        *loading_adapters(model.adapters),
    ]


def _embedding_routes(model: EmbeddingModel, name: str) -> list[Route]:
    active = 0

    async def health(_: Request) -> Response:
        counts = {"active": active, "waiting": 0, "context_length": model.context_length}
        return JSONResponse({"status": "ok", "model": name, "task": "embedding", **counts})

    async def embeddings(request: Request) -> Response:
        nonlocal active
        ask = read_embedding(parse(await request.body()))
        rows = model.tokens(ask)
        active += 1
        try:
            vectors = await asyncio.to_thread(model.embed, rows, ask.dimensions)
        finally:
            active -= 1
        packed = [as_base64(vector) if ask.encoding == "base64" else vector for vector in vectors]
        items = [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(packed)]
        tokens = sum(len(row) for row in rows)
        used = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": items, "model": name, "usage": used})

    refuse = _not_here(f"{name!r} is an embedding model; it does not generate")
    return [
        Route("/health", health),
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/chat/completions", refuse, methods=["POST"]),
        Route("/v1/completions", refuse, methods=["POST"]),
        *tokenizing(model.tokenizer, model.context_length, None),
        *scoring(Cosines(model), name),
    ]


def _rerank_routes(model: CrossEncoder, name: str) -> list[Route]:
    async def health(_: Request) -> Response:
        counts = {"active": int(model.lock.locked()), "waiting": 0, "context_length": model.context_length}
        return JSONResponse({"status": "ok", "model": name, "task": "rerank", **counts})

    refuse = _not_here(f"{name!r} ranks and scores; it neither generates nor embeds")
    others = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
    return [
        Route("/health", health),
        *(Route(path, refuse, methods=["POST"]) for path in others),
        *tokenizing(model.tokenizer, model.context_length, None),
        *scoring(model, name),
    ]


async def _whole(
    answers: Answers, gathered: Sequence[Gathered], options: Options, reply: Reply, watch: asyncio.Task[None]
) -> Response:
    try:
        async for happened in answers:
            if happened.reason == "cancelled":
                return Response(status_code=CLOSED)
            _raise_failure(happened)
            gathered[happened.index].push(happened)
    finally:
        watch.cancel()
        answers.close()
    chosen: list[Gathered] = []
    for start in range(0, len(gathered), options.best_of):
        chosen += best(gathered[start : start + options.best_of], options.n)
    scored = options.sampling.logprobs is not None
    done = [answer.finished(chat=reply.kind == "chat", scored=scored) for answer in chosen]
    return JSONResponse(reply.whole(done, usage(answers.prompt_tokens, answers.tokens, answers.cached_tokens)))


async def _stream(answers: Answers, each: Sequence[Telling], reply: Reply, watch: asyncio.Task[None]) -> Response:
    happenings = aiter(answers)
    try:
        first = await anext(happenings)  # the status can still tell of a failure
        _raise_failure(first)
    except BaseException:
        watch.cancel()
        answers.close()
        raise

    async def body() -> AsyncIterator[bytes]:
        begun: set[int] = set()
        try:
            for chunk in _chunks(first, each, reply, begun):
                yield chunk
            async for happened in happenings:
                for chunk in _chunks(happened, each, reply, begun):
                    yield chunk
                if happened.reason in ("error", "cancelled"):
                    return
            if reply.include_usage:
                yield reply.usage(usage(answers.prompt_tokens, answers.tokens, answers.cached_tokens))
            yield DONE
        finally:
            watch.cancel()
            answers.close()

    return StreamingResponse(body(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


def _chunks(happened: Event, each: Sequence[Telling], reply: Reply, begun: set[int]) -> list[bytes]:
    if happened.reason == "error":
        return [_failure(happened).event]
    index = happened.index
    opening = None if index in begun else reply.first(index)
    begun.add(index)
    return [*([opening] if opening else []), *_written(index, each[index].push(happened), reply)]


def _written(index: int, told: Told, reply: Reply) -> list[bytes]:
    """Return the chunks of what is new; the probabilities go with the first of them."""
    pieces, logprobs = list(told.pieces), told.logprobs
    if logprobs and not pieces and not told.reason:
        pieces = [Said("")]
    chunks = [reply.more(index, piece, None if place else logprobs) for place, piece in enumerate(pieces)]
    if told.reason:
        chunks.append(reply.last(index, told.reason, None if pieces else logprobs))
    return chunks


async def _cancel_when_gone(request: Request, answers: Answers) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    answers.close()


def _raise_failure(happened: Event) -> None:
    if happened.reason == "error":
        raise _failure(happened)


def _failure(happened: Event) -> Refusal:
    return Refusal(500, happened.message, code="engine_failed")


def _not_here(message: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(_: Request) -> Response:
        raise Refusal(404, message, code="model_not_found", param="model")

    return refuse


async def _refused(_: Request, error: Exception) -> Response:
    return _answer(cast(Refusal, error))


async def _http_error(_: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    return _answer(Refusal(error.status_code, error.detail, code="not_found"))


async def _crashed(_: Request, __: Exception) -> Response:
    return _answer(Refusal(500, "the engine failed", code="engine_failed"))


def _answer(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, refusal.headers, media_type="application/json")
