"""What an answer must look like, as a grammar: JSON of a schema, calls of functions, or either as the model likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from catalog.chat_templates import CLOSING, OPENING
from serving.engines.tools import Offer, Tool
from serving.engines.vocabulary import Compiled, Vocabulary, json_rule, literal


def grammar(vocabulary: Vocabulary, schema: Mapping[str, Any] | None, offer: Offer) -> Compiled | None:
    """Return the grammar of a request, or None where any text will do. It may take long: not for the event loop.

    Calls are held to their schema where a call is a must or the function is strict; a model that may call once is held
    to that. A schema that no answer can be held to is refused by the field it came from.
    """
    held = offer.tools if offer.must else tuple(tool for tool in offer.tools if tool.strict)
    for tool in held:
        param = f"tools.{tool.place}.function.parameters"
        vocabulary.compile(f"start: {json_rule(_of_object(tool.parameters))}", param=param)
    answer = None
    if schema is not None and not offer.must:
        answer = vocabulary.compile(f"start: {json_rule(schema)}", param="response_format")
    if not offer.tools or (answer is None and not held and offer.most > 1):
        return answer
    if offer.must:
        start = [f"start: {literal(OPENING)} calls"]
    elif schema is not None:
        start = [f"start: {literal(OPENING)} calls | answer", f"answer: {json_rule(schema)}"]
    else:
        start = ["start: begun calls | TEXT", f"begun[lazy]: TEXT {literal(OPENING)}", r"TEXT: /(.|\n)*/"]
    return vocabulary.compile("\n".join([*start, *_calls(offer, held)]), param="tools")


def _calls(offer: Offer, held: Sequence[Tool]) -> list[str]:
    """Return the rules of what follows the sign that a call begins."""
    again = f" ({literal(chr(10) + OPENING)} call){{0,{offer.most - 1}}}" if offer.most > 1 else ""
    names = " | ".join(f"call_{tool.place}" for tool in offer.tools)
    lines = [f"calls: call{again}", f"call: {literal(chr(10))} ({names}) {literal('}' + chr(10) + CLOSING)}"]
    for tool in offer.tools:
        head = literal(f'{{"name": "{tool.name}", "arguments": ')
        rule = json_rule(_of_object(tool.parameters) if tool in held else {"type": "object"})
        lines += [f"call_{tool.place}: {head} arguments_{tool.place}", f"arguments_{tool.place}: {rule}"]
    return lines


def _of_object(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return parameters if "type" in parameters or "$ref" in parameters else {"type": "object", **parameters}
