"""LLM nodes: a prompt and parameters in, what the model said out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from flows import chat_text, model_server, templates
from flows.connections import find
from flows.flow import Node
from flows.model_server import Provider, Request
from workspace.errors import Invalid

if TYPE_CHECKING:
    from flows.connections import Connection
    from flows.steps import Kit, Step

# What prompt flow's API functions take; every other input of a node is a variable of its prompt.
_BOTH = frozenset(
    {"temperature", "top_p", "stream", "stop", "max_tokens", "presence_penalty", "frequency_penalty", "logit_bias",
     "user"}
)  # fmt: skip
_CHAT = _BOTH | {"functions", "function_call", "tools", "tool_choice", "response_format", "seed"}
_COMPLETION = _BOTH | {"suffix", "n", "logprobs", "echo", "best_of"}
_PEER: Mapping[tuple[Provider, str], frozenset[str]] = {
    ("OpenAI", "chat"): _CHAT | {"model"},
    ("OpenAI", "completion"): _COMPLETION | {"model"},
    ("AzureOpenAI", "chat"): _CHAT | {"deployment_name", "n"},
    ("AzureOpenAI", "completion"): _COMPLETION | {"deployment_name"},
}
# What we take beyond them: newer parameters, and the other provider's name of the model where it has none.
_NEWER = frozenset(
    {"max_completion_tokens", "parallel_tool_calls", "reasoning_effort", "top_logprobs", "logprobs", "n"}
)
_FLOATS = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
_INTS = frozenset({"max_tokens", "max_completion_tokens", "seed", "n", "best_of", "top_logprobs"})
_JSON = frozenset(
    {"stop", "logit_bias", "functions", "function_call", "tools", "tool_choice", "response_format", "logprobs", "echo",
     "parallel_tool_calls"}
)  # fmt: skip


def make(node: Node, kit: Kit) -> Step:
    """Make an llm node ready; raises NotFound or Invalid for a connection, API or prompt that cannot be used."""
    from flows.steps import Step

    connection = find(kit.connections, node.connection)
    known = parameters_of(connection, node)
    if node.path is None:
        raise Invalid(f"node {node.name!r} needs a prompt: `source` with `path`", at=node.at)
    template = templates.read(node.path)
    if clash := sorted(template.names & _PEER[model_server.provider_of(connection), node.api]):
        raise Invalid(
            f"the prompt of node {node.name!r} uses {clash[0]!r}, which is a parameter of the model's API",
            hint=f"call the variable something else than {clash[0]!r}",
            at=node.at,
        )
    streams = kit.streams(node)
    is_azure_chat = node.api == "chat" and model_server.provider_of(connection) == "AzureOpenAI"
    kind_of_list = templates.Lines if is_azure_chat else list

    async def call(**values: Any) -> Any:
        shown = {name: each for name, each in values.items() if name not in known}
        prompt = template.render(shown, kind_of_list=kind_of_list)
        given = converted({name: each for name, each in values.items() if name in known})
        asked = _request(connection, node, prompt, given)
        if streams and not _offers_tools(asked):
            return _texts(await model_server.stream(kit, asked), node.api)
        return _value(await model_server.ask(kit, asked), asked)

    constants = templates.constants(node, template, kit)
    converted({name: each for name, each in constants.items() if name in known})  # wrong literals are refused now
    return Step(node=node, call=call, is_async=True, constants=constants)


def known_parameters() -> frozenset[str]:
    """Return every input of an llm node that some API takes as a parameter."""
    return frozenset[str]().union(*_PEER.values()) | _NEWER


def parameters_of(connection: Connection, node: Node) -> frozenset[str]:
    """Return the inputs of a node that are parameters of the API; raises Invalid for an API that does not exist."""
    provider = model_server.provider_of(connection)
    if (provider, node.api) not in _PEER:
        raise Invalid(
            f"node {node.name!r} asks for {provider}.{node.api}, which does not exist",
            hint="`api` is chat or completion",
            at=node.at,
        )
    known = _PEER[provider, node.api] | _NEWER
    other = {"OpenAI": "deployment_name", "AzureOpenAI": "model"}[provider]
    own = {"OpenAI": "model", "AzureOpenAI": "deployment_name"}[provider]
    return known if own in node.inputs else known | {other}


def converted(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in the types the API asks for, without those that say nothing. Raises ValueError.

    >>> converted({"temperature": "0.7", "stop": '["a"]', "max_tokens": "inf", "user": ""})
    {'temperature': 0.7, 'stop': ['a']}
    """
    found = {}
    for name, value in given.items():
        if value is None or value in ("", [], {}) or (name == "max_tokens" and str(value).lower() == "inf"):
            continue
        try:
            found[name] = _converted(name, value)
        except (ValueError, TypeError):
            raise ValueError(f"{name} cannot be {value!r}") from None
    return found


def _converted(name: str, value: Any) -> Any:
    if name in _FLOATS:
        return float(value)
    if name in _INTS:
        return int(value)
    if name in _JSON and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _request(connection: Connection, node: Node, prompt: chat_text.Prompt, given: dict[str, Any]) -> Request:
    model = given.pop("deployment_name", None) or given.pop("model", None)
    given.pop("stream", None)  # whether it streams is for the one who runs the flow to say
    body: dict[str, Any] = {"model": model} if model else {}
    if node.api == "chat":
        body["messages"] = chat_text.parse(prompt)
    else:
        body["prompt"] = str(prompt)
        body["max_tokens"] = 16  # as the API's own default, which not every server shares
    if given.get("tools"):
        given.pop("functions", None)
        given.pop("function_call", None)
    check_tools(given)
    body |= {"temperature": 1.0, "top_p": 1.0} | given
    return model_server.request(connection, api=node.api, body=body)


def check_tools(given: Mapping[str, Any]) -> None:
    """Raise ValueError for tools and functions that are none, before a server is asked to say so less clearly."""
    for kind in ("tools", "functions"):
        listed = given.get(kind)
        if listed is None:
            continue
        if not isinstance(listed, list) or not listed:
            raise ValueError(f"{kind} must be a list with something in it")
        for index, each in enumerate(listed):
            function = each.get("function") if kind == "tools" and isinstance(each, dict) else each
            if not isinstance(function, dict) or not function.get("name"):
                example = '{"type": "function", "function": {"name": …, "parameters": …}}'
                raise ValueError(f"{kind}[{index}] must name its function, such as {example}")


def _offers_tools(asked: Request) -> bool:
    return bool(asked.body.get("tools") or asked.body.get("functions"))


def _value(answer: dict[str, Any], asked: Request) -> Any:
    if asked.api == "chat" and _offers_tools(asked):
        return model_server.message_of(answer)
    return model_server.text_of(answer, asked.api)


async def _texts(chunks: AsyncIterator[dict[str, Any]], api: str) -> AsyncIterator[str]:
    async for chunk in chunks:
        if text := model_server.text_of(chunk, api):
            yield text
