"""Calling a model from flow code: `promptflow.tools.openai.chat`, `AzureOpenAI(connection)` and their like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows import chat_text, spans, templates

_TRIES = 10
_NEVER_SENT: tuple[Any, ...] = (None, "", [], {})


def chat(connection: Any, prompt: str, *, model: str, **given: Any) -> Any:
    """Render a chat prompt with the values that are no parameters, and return the text of the answer.

    With `tools` or `functions` the whole message as a mapping, with `stream=True` a generator of texts.
    """
    parameters, values = _split(given, _CHAT)
    messages = chat_text.parse(templates.render(prompt, values))
    return _ask(connection, "chat", {"model": model, "messages": messages, **parameters})


def completion(connection: Any, prompt: str, *, model: str, **given: Any) -> Any:
    """Render a prompt and return how the model goes on."""
    parameters, values = _split(given, _COMPLETION)
    return _ask(connection, "completion", {"model": model, "prompt": templates.render(prompt, values), **parameters})


def embed(connection: Any, text: Any, *, model: str) -> Any:
    """Return the vector of a text, a list of vectors for a list of texts."""
    with spans.child("embedding", "embedding", inputs={"input": text, "model": model}) as span:
        answer = client(connection).embeddings.create(model=model, input=text, extra_headers=spans.headers())
        used = answer.usage.prompt_tokens if answer.usage else 0
        spans.record_usage(prompt_tokens=used, model=answer.model)
        vectors = [each.embedding for each in answer.data]
        span.set(gen_ai__operation__name="embeddings")
        return vectors if isinstance(text, list) else vectors[0]


def client(connection: Any) -> Any:
    """Return the `openai` client of a connection."""
    import openai

    kind = getattr(connection, "TYPE", None) or getattr(connection, "type", "")
    if kind == "AzureOpenAI":
        key = connection.api_key
        if connection.configs.get("auth_mode") == "meid_token":
            return openai.AzureOpenAI(
                azure_ad_token_provider=connection.get_token, azure_endpoint=connection.api_base,
                api_version=connection.api_version, max_retries=_TRIES,
            )  # fmt: skip
        return openai.AzureOpenAI(
            api_key=key, azure_endpoint=connection.api_base, api_version=connection.api_version, max_retries=_TRIES
        )
    if kind == "Serverless":
        base = connection.api_base.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        return openai.OpenAI(api_key=connection.api_key, base_url=base, max_retries=_TRIES)
    return openai.OpenAI(
        api_key=connection.api_key or "none", base_url=connection.base_url or None,
        organization=connection.organization or None, max_retries=_TRIES,
    )  # fmt: skip


def parse_chat(
    chat_str: str,
    images: list[Any] | None = None,
    valid_roles: list[str] | None = None,
    image_detail: str = "auto",
    escape_dict: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the messages of a rendered chat prompt; raises ValueError for a role that is not allowed."""
    for name, role in (escape_dict or {}).items():
        chat_str = chat_str.replace(name, role)
    known = {token: image for image in images or [] for token in (getattr(image, "_hash", ""), str(image)) if token}
    messages = chat_text.parse(chat_str, images=known)
    for message in messages:
        if valid_roles and message["role"] not in valid_roles:
            raise ValueError(f"a message of role {message['role']!r} is not allowed: use {', '.join(valid_roles)}")
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            if part["type"] == "image_url":
                part["image_url"]["detail"] = image_detail
    return messages


def render_jinja_template(
    template_content: str,
    trim_blocks: bool = True,  # noqa: ARG001 - as callers write it; prompts are always rendered so
    keep_trailing_newline: bool = True,  # noqa: ARG001
    escape_dict: Mapping[str, str] | None = None,  # noqa: ARG001 - role headings in values are marked by us
    **values: Any,
) -> str:
    """Return a template filled with values, in the sandbox that prompts are rendered in."""
    return templates.render(template_content, values)


def _ask(connection: Any, api: str, body: dict[str, Any]) -> Any:
    opened = client(connection)
    create = opened.chat.completions.create if api == "chat" else opened.completions.create
    if body.get("stream"):
        return _stream(create, api, body)
    with spans.child("llm", f"{api} {body['model']}", inputs=body) as span:
        answer = create(**body, extra_headers=spans.headers())
        if answer.usage:
            spans.record_usage(
                prompt_tokens=answer.usage.prompt_tokens, completion_tokens=answer.usage.completion_tokens,
                model=answer.model,
            )  # fmt: skip
        choice = answer.choices[0]
        if api != "chat":
            span.output = choice.text
        elif body.get("tools") or body.get("functions"):
            span.output = choice.message.model_dump(exclude_none=True)
        else:
            span.output = choice.message.content or ""
        return span.output


def _stream(create: Any, api: str, body: dict[str, Any]) -> Iterator[str]:
    with spans.child("llm", f"{api} {body['model']}", inputs=body) as span:
        said: list[str] = []
        span.output = said
        for chunk in create(**body, extra_headers=spans.headers()):
            if chunk.choices:
                text = chunk.choices[0].delta.content if api == "chat" else chunk.choices[0].text
                if text:
                    said.append(text)
                    yield text


def _split(given: Mapping[str, Any], known: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    sent = {name: value for name, value in given.items() if name in known and value not in _NEVER_SENT}
    if isinstance(sent.get("max_tokens"), str):
        sent["max_tokens"] = int(sent["max_tokens"])
    return sent, {name: value for name, value in given.items() if name not in known}


_SHARED = frozenset(
    {"temperature", "top_p", "n", "stream", "stop", "max_tokens", "presence_penalty", "frequency_penalty", "logit_bias",
     "user", "seed"}
)  # fmt: skip
_CHAT = _SHARED | {
    "function_call", "functions", "tool_choice", "tools", "response_format", "max_completion_tokens", "logprobs",
    "top_logprobs", "reasoning_effort",
}  # fmt: skip
_COMPLETION = _SHARED | {"suffix", "logprobs", "echo", "best_of"}
