"""What a request may carry into an engine: no address that the engine would fetch, no tensors, no bottomless nesting.

An engine that fetches what a client names reaches into the network behind us (SSRF) or reads our files. Media come as
`data:` URLs or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.api.fields import wrong
from serving.openai_errors import Refusal

DEEPEST = 64  # levels of a body
# Fields that hold content; tools, schemas and metadata may name addresses as they like, nobody fetches those.
_ITEMS = ("messages", "input", "prompt", "system", "query", "queries", "documents", "items")
_CONTENT = frozenset((*_ITEMS, "text_1", "text_2", "data_1", "data_2"))
_MEDIA = frozenset({"image", "input_image", "audio", "video", "file", "input_file", "document"})
_SOURCES = frozenset({"source", "file"})
_TENSORS = frozenset({"image_embeds", "audio_embeds", "video_embeds", "prompt_embeds"})


def check(raw: bytes, request: Mapping[str, Any]) -> None:
    """Refuse the request, by the name of the part, if an engine should not see it."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth(request) > DEEPEST:
        raise Refusal(400, f"the body is nested deeper than {DEEPEST} levels", code="invalid_json")
    if request.get("prompt_embeds") is not None:
        raise wrong("tensors are not taken from clients", "prompt_embeds", code="unsupported_parameter")
    for name, value in request.items():
        if name in _CONTENT and isinstance(value, dict | list):
            _check(value, name)


def _check(value: Any, where: str, *, media: bool = False) -> None:
    if isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, dict | list) and not _is_text(each):
                _check(each, f"{where}.{index}")
        return
    kind = value.get("type")
    media = media or (isinstance(kind, str) and (kind in _MEDIA or kind.endswith("_url")))
    for name, each in value.items():
        if name in _TENSORS:
            raise wrong("tensors are not taken from clients", f"{where}.{name}", code="unsupported_parameter")
        address = name.endswith("_url") or (media and name in ("url", "uri", *_MEDIA))
        if isinstance(each, str):
            if address and not each.lstrip().lower().startswith("data:"):
                raise wrong(
                    f"'{where}.{name}' names an address to be fetched; send the content itself, as a data: URL",
                    f"{where}.{name}",
                    code="media_url_refused",
                )
        elif isinstance(each, dict | list) and not (kind == "tool_use" and name == "input"):  # a call's own arguments
            _check(each, f"{where}.{name}", media=name.endswith("_url") or (media and name in _SOURCES))


def _is_text(part: Any) -> bool:
    """Whether it is the most common part, of which there may be many: `{"type": "text", "text": "…"}`."""
    return (
        len(part) == 2 and isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def _depth(request: Mapping[str, Any]) -> int:
    level: list[Any] = [request]
    depth = 0
    while level and depth <= DEEPEST:
        depth += 1
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
    return depth
