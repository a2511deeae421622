"""`truncation: "auto"` of a response: items go from the beginning of the conversation until its model reads the rest.

How much a model can read, and how long a conversation is to it, its engine alone knows: it is asked at /tokenize.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from serving.api import fields
from serving.api.responses_request import Ask
from serving.call import Call
from serving.endpoints import Deployment
from serving.forward import forward
from serving.openai_errors import TOO_LONG, Refusal, with_code
from serving.routing import Way
from serving.visit import Visit

Items = Sequence[Mapping[str, Any]]
_COUNTED = ("model", "messages", "tools", "tool_choice")  # what of a chat is in its prompt


async def fit(visit: Visit, ask: Ask, deployment: Deployment) -> None:
    """Leave in the call what the deployment's model can read; `ask` has the whole conversation.

    Instructions stay, and so does the last item: a Refusal where it is too long alone. An output goes with its call.
    """
    call = visit.call

    async def fits(cut: int) -> bool:
        tokens, most = await _counted(visit, deployment, _shortened(ask, cut))
        return tokens + ask.room <= most

    if await fits(0):
        return
    least, enough = 0, most_dropped(ask.items)
    if not enough or not await fits(enough):
        message = f"{deployment.path} cannot read the last item even without all before it"
        raise Refusal(400, message, code=TOO_LONG, param="input")
    while enough - least > 1:
        middle = (least + enough) // 2
        if await fits(middle):
            enough = middle
        else:
            least = middle
    short = _shortened(ask, enough)
    call.request, call.dropped = short.to_chat([]), len(ask.items) - len(short.items)
    call.body = json.dumps(call.request).encode()


def rest(items: Items, cut: int) -> list[Mapping[str, Any]]:
    """Return the items from a place on, without the outputs whose calls are before it."""
    gone = {item["call_id"] for item in items[:cut] if item["type"] == "function_call"}
    return [item for item in items[cut:] if item["type"] != "function_call_output" or item["call_id"] not in gone]


def most_dropped(items: Items) -> int:
    """Return how many items may go so that the last one stays, with the call that it may be the output of."""
    last = items[-1]
    if last["type"] != "function_call_output":
        return len(items) - 1
    calls = [item["type"] == "function_call" and item["call_id"] == last["call_id"] for item in items]
    return calls.index(True) if True in calls else len(items) - 1


def _shortened(ask: Ask, cut: int) -> Ask:
    return replace(ask, items=rest(ask.items, cut))


async def _counted(visit: Visit, deployment: Deployment, ask: Ask) -> tuple[float, float]:
    """Return how many tokens the engine takes a conversation for, and how many it can read."""
    chat = ask.to_chat([])
    asked = {name: chat[name] for name in _COUNTED if name in chat}
    call = Call(id=visit.call.id, path=visit.call.path, token_id=visit.call.token_id, asks="/tokenize", request=asked)
    parts: list[bytes] = []

    async def hear(message: MutableMapping[str, Any]) -> None:
        parts.append(message.get("body", b""))

    await forward(call, Way(deployment=deployment), visit.house.plane, hear)
    if call.status == 400:
        # Too long to be counted; or wrong in a way that the engine tells better when it is asked for the answer.
        return (math.inf, 0) if json.loads(with_code(b"".join(parts)))["error"]["code"] == TOO_LONG else (0, math.inf)
    try:
        told = json.loads(b"".join(parts))
        return int(told["count"]), int(told["max_model_len"])
    except (ValueError, KeyError, TypeError):
        what = f"truncation by {deployment.path}, whose engine {deployment.engine!r} counts no tokens,"
        raise fields.unsupported(what, "truncation") from None
