"""Asking a model: one OpenAI-shaped request, tried again where the server says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flows.connections import Connection

if TYPE_CHECKING:
    import httpx

# What the API takes; every other input of a node is a variable of its prompt.
PARAMETERS = frozenset(
    {
        "model", "deployment_name", "temperature", "top_p", "stop", "max_tokens", "max_completion_tokens",
        "presence_penalty", "frequency_penalty", "logit_bias", "user", "functions", "function_call", "tools",
        "tool_choice", "response_format", "seed", "n",
    }
)  # fmt: skip
TRIES = 10
LONGEST_PAUSE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: `value` is its text, or the whole message where tools were offered."""

    value: Any
    prompt_tokens: int
    completion_tokens: int
    model: str | None  # the asset that answered, where the server names one


async def ask(
    client: httpx.AsyncClient, connection: Connection, *, api: str, prompt: Any, parameters: Mapping[str, Any]
) -> Answer:
    """Send messages (`api="chat"`) or a text (`"completion"`); raises RuntimeError with what the server said."""
    route = "chat/completions" if api == "chat" else "completions"
    body = {"messages" if api == "chat" else "prompt": prompt, **parameters}
    if "deployment_name" in body:
        body["model"] = body.pop("deployment_name")
    headers = {"Authorization": f"Bearer {connection.api_key}"}
    url = f"{connection.base_url.rstrip('/')}/{route}"
    for attempt in range(TRIES):
        response = await _post(client, url, body, headers)
        if response is not None and response.status_code == 200:
            return _answer(response, api, offered_tools=bool(body.get("tools") or body.get("functions")))
        if response is not None and not _will_pass(response):
            raise RuntimeError(f"the model server refused: {_reason(response)}")
        if attempt < TRIES - 1:
            await asyncio.sleep(_pause(response, attempt))
    said = "it does not answer" if response is None else _reason(response)
    raise RuntimeError(f"the model server at {connection.base_url} failed {TRIES} times: {said}")


async def _post(
    client: httpx.AsyncClient, url: str, body: dict[str, Any], headers: dict[str, str]
) -> httpx.Response | None:
    import httpx

    try:
        return await client.post(url, json=body, headers=headers)
    except httpx.TransportError:
        return None


def _will_pass(response: httpx.Response) -> bool:
    if "insufficient_quota" in response.text:
        return False
    return response.status_code == 429 or response.status_code >= 500


def _pause(response: httpx.Response | None, attempt: int) -> float:
    said = "" if response is None else response.headers.get("retry-after", "")
    if said.replace(".", "", 1).isdecimal():
        return min(float(said), LONGEST_PAUSE)
    return float(min(0.25 * 2**attempt, LONGEST_PAUSE)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _reason(response: httpx.Response) -> str:
    try:
        return f"{response.json()['error']['message']} ({response.status_code})"
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}: {response.text[:200]}"


def _answer(response: httpx.Response, api: str, *, offered_tools: bool) -> Answer:
    try:
        body = response.json()
        choice = body["choices"][0]
        value = (
            choice["text"] if api != "chat" else choice["message"] if offered_tools else choice["message"]["content"]
        )
    except (ValueError, LookupError, TypeError) as error:
        raise RuntimeError(f"the model server answered what no OpenAI server does: {response.text[:200]}") from error
    usage = body.get("usage") or {}
    return Answer(
        value if value is not None else "",
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        response.headers.get("x-studiolo-model"),
    )
