"""Asking a model server: where a connection leads, one request, tried again where the server says so, or streamed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from flows import spans
from flows.connections import ENTRA, Connection
from flows.pace import Pace, asked_pause
from workspace.errors import Invalid, MissingExtra

if TYPE_CHECKING:
    import httpx

    from flows.spans import Span
    from flows.steps import Kit

Provider = Literal["OpenAI", "AzureOpenAI"]

AT_ONCE = 64  # requests at a time over one connection, where the server keeps up
_ROUTES = {"chat": "chat/completions", "completion": "completions", "embeddings": "embeddings"}
_TOLD = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """When a request is sent again: on 429, 5xx, twice in a row on 422, and where the server goes away in the middle.

    The pauses grow as 3, 4, 6, 10 … 60 seconds, unless the server says how long; `total` bounds them all together.
    """

    tries: int = 10
    first: float = 3.0  # seconds, as all below
    longest: float = 60.0
    total: float = 600.0
    unprocessable: int = 3  # 422 in a row that are enough

    def pause(self, attempt: int) -> float:
        """Return how long to wait after the attempt, counted from 0, where the server does not say."""
        return min(self.first + 2.0**attempt - 1, self.longest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent, and where to."""

    api: str
    provider: Provider
    connection: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]


class Refused(RuntimeError):
    """The model server answered with an error that trying again does not mend, or did not answer.

    `code` is what the server calls it, such as "context_length_exceeded".
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def provider_of(connection: Connection) -> Provider:
    """Return whose API a connection speaks; raises Invalid where it reaches no model."""
    if connection.provider == "OpenAI":
        return "OpenAI"
    if connection.provider == "AzureOpenAI":
        return "AzureOpenAI"
    raise Invalid(
        f"connection {connection.name!r} of type {connection.type!r} reaches no language model",
        hint="use one of type open_ai, azure_open_ai or serverless",
    )


def request(connection: Connection, *, api: str, body: Mapping[str, Any]) -> Request:
    """Return the request that asks over a connection; raises Invalid where something needed is missing."""
    provider = provider_of(connection)
    if api not in _ROUTES:
        raise Invalid(f"{provider} has no API {api!r}", hint="use chat or completion")
    if provider == "AzureOpenAI":
        url, headers = _azure(connection, _ROUTES[api], str(body.get("model") or ""))
    else:
        url, headers = _openai(connection, _ROUTES[api])
        if not body.get("model") and connection.configs.get("model"):
            body = {**body, "model": connection.configs["model"]}
    return Request(api=api, provider=provider, connection=connection.name, url=url, headers=headers, body=dict(body))


async def ask(kit: Kit, asked: Request, *, retrying: Retrying | None = None) -> dict[str, Any]:
    """Send a request and return the server's whole answer; raises Refused with what the server said.

    The call is a span under the node that runs, with the tokens it spent. With a cassette in the kit, it is what the
    cassette recorded, or is recorded.
    """
    with _span(asked) as span:
        answer = await exchange(kit, asked, _read, retrying=retrying)
        span.output = answer.get("choices")
        _spent(span, answer)
        return answer


async def exchange(
    kit: Kit,
    asked: Request,
    read: Callable[[httpx.Response], dict[str, Any]],
    *,
    retrying: Retrying | None = None,
) -> dict[str, Any]:
    """Send a request and return the answer as `read` reads it, or what the kit's cassette has recorded."""

    async def send() -> dict[str, Any]:
        async with _pace(kit, asked) as pace:
            response = await _sent(kit.client(), asked, retrying or Retrying(), pace, stream=False)
        return read(response)

    if kit.cassette is None:
        return await send()
    key = {"api": asked.api, "provider": asked.provider, **asked.body}
    answer: dict[str, Any] = await kit.cassette.exchange(key, send)
    return answer


async def stream(kit: Kit, asked: Request, *, retrying: Retrying | None = None) -> AsyncIterator[dict[str, Any]]:
    """Return the chunks of an answer as they come; raises Refused before the first one, or where it breaks off."""
    if kit.cassette is not None:
        return _at_once(await ask(kit, asked, retrying=retrying))
    body = {**asked.body, "stream": True}
    if asked.provider == "OpenAI":
        body["stream_options"] = {"include_usage": True}
    with _span(asked) as span:
        async with _pace(kit, asked) as pace:
            response = await _sent(kit.client(), replace(asked, body=body), retrying or Retrying(), pace, stream=True)
    return _chunks(asked, response, span)


async def _chunks(asked: Request, response: httpx.Response, span: Span) -> AsyncIterator[dict[str, Any]]:
    import httpx

    said = []
    try:
        async for line in response.aiter_lines():
            if not line.startswith("data:") or line[5:].strip() == "[DONE]":
                continue
            chunk = _chunk(line[5:])
            if asset := response.headers.get("x-studiolo-model"):
                chunk["model"] = asset
            _spent(span, chunk)
            said.append(text_of(chunk, asked.api))
            yield chunk
    except httpx.TransportError as error:
        raise Refused(f"the model server at {_address(asked)} broke off: {error}") from error
    finally:
        span.output, span.ended_at = "".join(said), time.time()
        await response.aclose()


async def _at_once(answer: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield {**answer, "choices": [{**choice, "delta": choice.get("message")} for choice in answer["choices"]]}


def text_of(answer: Mapping[str, Any], api: str) -> str:
    """Return the text of an answer's or chunk's first choice, "" where it has none."""
    choices = answer.get("choices") or []
    if not choices or choices[0].get("index", 0) != 0:
        return ""
    if api != "chat":
        return choices[0].get("text") or ""
    return (choices[0].get("delta") or choices[0].get("message") or {}).get("content") or ""


def message_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole first message of a chat, with the keys that callers look at."""
    said: dict[str, Any] = answer["choices"][0]["message"]
    return {"role": "assistant", "content": None, "tool_calls": None, "function_call": None} | said


# Where a connection leads


def _openai(connection: Connection, route: str) -> tuple[str, dict[str, str]]:
    headers = {"Authorization": f"Bearer {connection.api_key}"} if connection.api_key else {}
    if organization := connection.configs.get("organization"):
        headers["OpenAI-Organization"] = organization
    return f"{connection.base_url.rstrip('/')}/{route}", headers


def _azure(connection: Connection, route: str, deployment: str) -> tuple[str, dict[str, str]]:
    if not connection.base_url:
        raise Invalid(f"connection {connection.name!r} has no `api_base`", hint="such as https://NAME.openai.azure.com")
    if not deployment:
        raise Invalid("Azure OpenAI needs `deployment_name`", hint="the name of the deployment, not of the model")
    version = quote(connection.configs.get("api_version") or "2024-02-01", safe="")
    place = f"{connection.base_url.rstrip('/')}/openai/deployments/{quote(deployment, safe='')}"
    url = f"{place}/{route}?api-version={version}"
    if connection.configs.get("auth_mode") == ENTRA and not connection.api_key:
        return url, {"Authorization": f"Bearer {_entra_token()}"}
    return url, {"api-key": connection.api_key}


def _entra_token() -> str:
    try:
        from azure.identity import DefaultAzureCredential  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise MissingExtra("a connection with auth_mode meid_token", hint="pip install azure-identity") from None
    return str(DefaultAzureCredential().get_token("https://cognitiveservices.azure.com/.default").token)


def _address(asked: Request) -> str:
    return asked.url.partition("?")[0]


# Sending


async def _sent(
    client: httpx.AsyncClient, asked: Request, retrying: Retrying, pace: Pace, *, stream: bool
) -> httpx.Response:
    """Send until the answer is good; raises Refused where it will not be."""
    waited, unprocessable = 0.0, 0
    for attempt in range(retrying.tries):
        response, said = await _tried(client, asked, stream=stream)
        if response is not None and response.status_code < 300:
            pace.answered()
            return response
        if response is not None:
            said = _reason(response)
            unprocessable = unprocessable + 1 if response.status_code == 422 else 0
            if not _will_pass(response) or unprocessable >= retrying.unprocessable:
                raise Refused(f"the model server refused: {said}", code=_code(response))
        pause = asked_pause("" if response is None else response.headers.get("retry-after", "").strip())
        pause = retrying.pause(attempt) if pause is None else pause
        if attempt == retrying.tries - 1 or waited + pause > retrying.total:
            raise Refused(
                f"the model server at {_address(asked)} failed {attempt + 1} times in {waited:.0f} seconds"
                + (f" and asks to wait {pause:.0f} more" if waited + pause > retrying.total else "")
                + f": {said}"
            )
        waited += pause
        if not unprocessable:
            pace.refused()
        if (span := spans.current()) is not None:
            span.set(studiolo__tries=attempt + 2, studiolo__waited=waited)
        await asyncio.sleep(pause)
    raise AssertionError("the last try raises")


async def _tried(client: httpx.AsyncClient, asked: Request, *, stream: bool) -> tuple[httpx.Response | None, str]:
    import httpx

    headers = {**asked.headers, **spans.headers()}
    made = client.build_request("POST", asked.url, json=dict(asked.body), headers=headers)
    try:
        response = await client.send(made, stream=stream)
        if stream and response.status_code >= 300:
            await response.aread()
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise Refused(f"no model server at {_address(asked)}: {error}") from error
    except httpx.TransportError as error:  # it went away in the middle, or took too long
        return None, str(error) or type(error).__name__
    return response, ""


def _will_pass(response: httpx.Response) -> bool:
    if response.status_code == 429:
        return "insufficient_quota" not in response.text
    return response.status_code >= 500 or response.status_code == 422


def _reason(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        said = error["message"] if isinstance(error, dict) else error
        return f"{said} ({response.status_code})"
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}: {response.text[:200]}"


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["code"] or "")
    except (ValueError, KeyError, TypeError):
        return ""


def _read(response: httpx.Response) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = response.json()
        first = answer["choices"][0]
        assert isinstance(first.get("message", first.get("text")), dict | str)  # noqa: S101 - turned into an error below
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise Refused(f"the model server answered what no OpenAI server does: {response.text[:200]}") from error
    if asset := response.headers.get("x-studiolo-model"):
        answer["model"] = asset
    return answer


def _chunk(text: str) -> dict[str, Any]:
    try:
        chunk = json.loads(text)
    except ValueError:
        raise Refused(f"the model server sent what is no chunk of an answer: {text[:200]}") from None
    if isinstance(chunk, dict) and chunk.get("error"):
        raise Refused(f"the model server broke off: {json.dumps(chunk['error'])[:500]}")
    return chunk if isinstance(chunk, dict) else {}


def _pace(kit: Kit, asked: Request) -> Pace:
    """A connection carries so many requests at a time; more wait here, not at the server."""
    return kit.paces.setdefault(asked.connection, Pace(AT_ONCE))


# What is told of a call


def _span(asked: Request) -> AbstractContextManager[Span]:
    body = asked.body
    attributes = {
        "gen_ai.operation.name": "chat" if asked.api == "chat" else "text_completion",
        "gen_ai.provider.name": "openai" if asked.provider == "OpenAI" else "azure.ai.openai",
        "gen_ai.request.model": body.get("model"),
        **{f"gen_ai.request.{name}": body[name] for name in _TOLD if body.get(name) is not None},
    }
    said = {name: content for name, content in body.items() if name in ("messages", "prompt", "tools", "functions")}
    return spans.child("llm", f"{asked.provider}.{asked.api}", inputs=said, attributes=attributes)


def _spent(span: Span, answer: Mapping[str, Any]) -> None:
    if model := answer.get("model"):
        span.model = str(model)
        span.attributes["gen_ai.response.model"] = span.model
    if answer.get("id"):
        span.attributes["gen_ai.response.id"] = answer["id"]
    if reasons := [each["finish_reason"] for each in answer.get("choices") or [] if each.get("finish_reason")]:
        span.attributes["gen_ai.response.finish_reasons"] = reasons
    usage = answer.get("usage") or {}
    prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    if prompt or completion:
        # Set on the span itself: what streams ends after the node has.
        span.prompt_tokens += prompt
        span.completion_tokens += completion
        span.attributes |= {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion}
