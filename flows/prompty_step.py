"""Running a prompty: its inputs filled in, its model asked, its answer in the form it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import chat_text, model_server, templates
from flows.connections import DEFAULT, Connection, find
from flows.flow import Node
from flows.model_server import Request
from flows.prompty import Model, Prompty, load
from workspace.errors import Invalid, Location

if TYPE_CHECKING:
    from flows.steps import Kit, Step

_IMAGE = re.compile(r"(data:image/(?:[\w+.-]+|\*);(?:path|base64|url)):\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ready:
    """A prompty with its template compiled and its connection found."""

    prompty: Prompty
    template: templates.Template
    connection: Connection


def make(node: Node, kit: Kit) -> Step:
    """Make a prompty ready; raises NotFound or Invalid for a connection or template that cannot be used."""
    from flows.steps import Step

    assert node.path is not None  # noqa: S101 - the reader names its file
    made = ready(load(node.path), kit.connections)
    streams = kit.streams(node)

    async def call(**values: Any) -> Any:
        return await ask(made, values, kit, stream=streams)

    return Step(node=node, call=call, is_async=True, defaults=frozenset(made.prompty.inputs))


def ready(prompty: Prompty, connections: Mapping[str, Connection]) -> Ready:
    """Compile the template and find the connection."""
    template = templates.prepare(prompty.body, at=Location(prompty.file, prompty.body_line))
    return Ready(prompty, template, connection_of(prompty.model, connections, os.environ))


def messages(made: Ready, values: Mapping[str, Any]) -> Any:
    """Return what the model is asked: messages, or a text for the completion API."""
    inputs = {
        name: _with_images(value, made.prompty.file.parent) for name, value in made.prompty.filled(values).items()
    }
    prompt = made.template.render(inputs)
    return chat_text.parse(prompt) if made.prompty.model.api == "chat" else str(prompt)


async def ask(made: Ready, values: Mapping[str, Any], kit: Kit, *, stream: bool = False) -> Any:
    """Ask the model and return its answer; with `stream`, where the prompty streams, an iterator of its pieces."""
    model = made.prompty.model
    asked = _request(made, messages(made, values))
    if stream and model.parameters.get("stream") and not _is_json(model):
        chunks = await model_server.stream(kit, asked)
        return chunks if model.response == "all" else _texts(chunks, model.api)
    return formatted(made.prompty, await model_server.ask(kit, asked))


def call(prompty: Prompty, values: Mapping[str, Any], connections: Mapping[str, Connection]) -> Any:
    """Ask the model from code that is not async, and wait for the answer."""
    from flows.flow import Flow
    from flows.steps import Kit

    async def once() -> Any:
        kit = Kit(Flow(name=prompty.name, folder=prompty.file.parent, file=prompty.file), connections)
        try:
            return await ask(ready(prompty, connections), values, kit)
        finally:
            await kit.aclose()

    return asyncio.run(once())


def formatted(prompty: Prompty, answer: dict[str, Any]) -> Any:
    """Return an answer as the prompty wants it: whole, its text, its JSON, or the message that calls tools."""
    model = prompty.model
    if model.response == "all":
        return answer
    if answer["choices"][0].get("finish_reason") in ("tool_calls", "function_call", "function_calls"):
        return model_server.message_of(answer)
    text = model_server.text_of(answer, model.api)
    if not _is_json(model):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError(f"the model was asked for JSON and said {text[:200]!r}") from None
    if not prompty.outputs:
        return found
    missing = [key for key in prompty.outputs if not isinstance(found, dict) or key not in found]
    if missing:
        known = list(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"the answer has no {', '.join(map(repr, missing))}, only {known}")
    return {key: found[key] for key in prompty.outputs}


def connection_of(model: Model, connections: Mapping[str, Connection], variables: Mapping[str, str]) -> Connection:
    """Return where a model is: a connection by name, what the file itself says, what the environment says.

    Where none of them says anything, the local gateway. Raises NotFound or Invalid.
    """
    if model.connection:
        return find(connections, model.connection)
    if model.type == "azure_open_ai":
        return _azure(model, variables)
    key = model.inline.get("api_key") or variables.get("OPENAI_API_KEY", "")
    base = model.inline.get("base_url") or variables.get("OPENAI_BASE_URL", "")
    organization = model.inline.get("organization") or variables.get("OPENAI_ORG_ID", "")
    if not key and not base:
        if DEFAULT in connections:
            return connections[DEFAULT]
        raise Invalid("the model has no key", hint="set OPENAI_API_KEY, or name a `connection` in the configuration")
    configs = {"base_url": base, "organization": organization}
    return _connection("open_ai", configs, key)


def _azure(model: Model, variables: Mapping[str, str]) -> Connection:
    base = model.inline.get("azure_endpoint") or variables.get("AZURE_OPENAI_ENDPOINT", "")
    key = model.inline.get("api_key") or variables.get("AZURE_OPENAI_API_KEY", "")
    version = model.inline.get("api_version") or variables.get("OPENAI_API_VERSION", "")
    if not base:
        raise Invalid(
            "the model has no `azure_endpoint`",
            hint="set AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY, or name a `connection` in the configuration",
        )
    configs = {"api_base": base, "api_version": version or "2024-02-01", "auth_mode": "key" if key else "meid_token"}
    return _connection("azure_open_ai", configs, key)


def _connection(kind: str, configs: Mapping[str, str], key: str) -> Connection:
    return Connection(
        name=f"prompty {kind}",
        type=kind,
        configs={name: value for name, value in configs.items() if value},
        secrets={"api_key": key} if key else {},
    )


def _request(made: Ready, prompt: Any) -> Request:
    model = made.prompty.model
    body = {name: value for name, value in model.parameters.items() if name != "stream"}
    body["messages" if model.api == "chat" else "prompt"] = prompt
    if model.name:
        body["model"] = model.name
    return model_server.request(made.connection, api=model.api, body=body)


def _is_json(model: Model) -> bool:
    wanted = model.parameters.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") == "json_object"


def _with_images(value: Any, folder: Path) -> Any:
    """A text such as `data:image/png;path: logo.png` is an image."""
    if isinstance(value, str) and (match := _IMAGE.fullmatch(value.strip())):
        from flows.images import create

        return create({match[1]: match[2].strip()}, folder=folder)
    return value


async def _texts(chunks: AsyncIterator[dict[str, Any]], api: str) -> AsyncIterator[str]:
    async for chunk in chunks:
        if text := model_server.text_of(chunk, api):
            yield text
