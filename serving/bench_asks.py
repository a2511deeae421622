"""What a load asks: the body of each request, from a prompt or a file of prompts, for the engine that answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving import endpoints, routing
from serving.deployment_settings import SCORING
from workspace.errors import Invalid, NotFound, did_you_mean
from workspace.home import Workspace

PROMPT = "Tell me a story about a small robot that learns to paint."


def asks(
    workspace: Workspace, name: str, prompts: list[Any], *, max_tokens: int = 64, stream: bool = True
) -> tuple[str, list[bytes]]:
    """Return the path and the bodies for an endpoint, "endpoint/deployment" or a model.

    A prompt is a text, or an object: a request without its model. Embedding models get texts as input; what scores
    is sent each prompt as it is.
    """
    by = way(workspace, name)
    if by.engine in SCORING:
        return f"/endpoints/{by.endpoint}/score", [json.dumps(prompt).encode() for prompt in prompts]
    if _task(workspace, by.model) == "embedding":
        return "/v1/embeddings", [_body({"input": prompt}, prompt, name) for prompt in prompts]
    more: dict[str, Any] = {"max_tokens": max_tokens}
    if stream:
        more |= {"stream": True, "stream_options": {"include_usage": True}}
    chats = [_body({"messages": [{"role": "user", "content": prompt}]}, prompt, name, more) for prompt in prompts]
    return "/v1/chat/completions", chats


def read(path: Path) -> list[Any]:
    """Return the prompts in a file: one a line, as text, or in a .jsonl as JSON."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise NotFound(f"cannot read {str(path)!r}: {error.strerror}") from None
    if not lines:
        raise Invalid(f"{str(path)!r} holds no prompt", hint="one a line")
    if path.suffix != ".jsonl":
        return lines
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise Invalid(f"{path}:{number}: no JSON: {error}", hint="a text, or an object with messages") from None
    return found


def way(workspace: Workspace, name: str) -> endpoints.Deployment:
    """Return the deployment that most of the load reaches."""
    known = endpoints.addressable(workspace)
    base = known.get(name) or known.get(name.rpartition("/")[0])
    if base is None:
        raise NotFound(f"no endpoint {name!r}", hint=did_you_mean(name, known) or "studiolo endpoint list")
    if not base.deployments:
        raise NotFound(f"endpoint {name!r} has no deployment", hint="studiolo deployment create -f FILE")
    if name in known and any(base.traffic.values()):
        return next(base.deployments[each] for each, part in base.traffic.items() if part)
    return routing.choose(known, name)


def _task(workspace: Workspace, model: str) -> str:
    kind, _, rest = model.partition(":")
    try:
        return str(workspace.assets.get(kind, rest).properties.get("task", "chat")) if rest else "chat"
    except NotFound:
        return "chat"  # a name at a server elsewhere


def _body(asked: dict[str, Any], prompt: Any, name: str, more: dict[str, Any] | None = None) -> bytes:
    if isinstance(prompt, dict):
        asked = {"messages": [{"role": "user", "content": prompt["prompt"]}]} if set(prompt) == {"prompt"} else prompt
    elif not isinstance(prompt, str):
        raise Invalid(f"a prompt is a text or an object with messages, not {prompt!r}")
    return json.dumps({**(more or {}), **asked, "model": name}).encode()
