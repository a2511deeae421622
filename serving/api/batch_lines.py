"""The lines of a batch's input file, each checked once: what is wrong is told by its line, as OpenAI does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
MOST = 50_000  # requests in a batch, as at OpenAI
TOLD = 50  # errors that are told of one file


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that keeps a batch from beginning."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def described(self) -> dict[str, Any]:
        """Return it as OpenAI does."""
        return {"code": self.code, "message": self.message, "line": self.line, "param": self.param}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is in the file; bodies are read again when they are asked, so that few are in memory."""

    number: int  # among the requests, from 0
    custom_id: str
    offset: int
    length: int


def read(path: Path, endpoint: str) -> tuple[Sequence[Place], Sequence[Wrong]]:
    """Return the requests of a file, and what is wrong with it."""
    places: list[Place] = []
    wrong: list[Wrong] = []
    seen: set[str] = set()
    for line, offset, raw in _lines(path):
        found = _checked(raw, line, endpoint, seen)
        if isinstance(found, Wrong):
            wrong.append(found)
            if len(wrong) == TOLD:
                return places, wrong
            continue
        seen.add(found)
        places.append(Place(len(places), found, offset, len(raw)))
        if len(places) > MOST:
            return places, [*wrong, Wrong("too_many_tasks", f"a batch has {MOST:,} requests at most", line)]
    if not places and not wrong:
        wrong.append(Wrong("empty_file", "the file has no requests"))
    return places, wrong


def body(path: Path, place: Place) -> Mapping[str, Any]:
    """Return what a request asks."""
    with path.open("rb") as file:
        file.seek(place.offset)
        found: Mapping[str, Any] = json.loads(file.read(place.length))["body"]
    return found


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Each line that is not empty: its number from 1, where it begins, its bytes."""
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                yield number, offset, raw
            offset += len(raw)


def _checked(raw: bytes, line: int, endpoint: str, seen: set[str]) -> str | Wrong:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return Wrong("invalid_json_line", "this line is not valid JSON", line)
    if not isinstance(value, dict):
        return Wrong("invalid_json_line", "this line is no JSON object", line)
    name = value.get("custom_id")
    if not isinstance(name, str) or not name:
        return Wrong("missing_required_parameter", "`custom_id` must be a text", line, "custom_id")
    if name in seen:
        return Wrong("duplicate_custom_id", f"the custom_id {name!r} is in the file twice", line, "custom_id")
    if value.get("method") != "POST":
        return Wrong("invalid_method", "`method` must be POST", line, "method")
    if value.get("url") != endpoint:
        return Wrong("mismatched_endpoint", f"`url` must be the batch's endpoint, {endpoint}", line, "url")
    asked = value.get("body")
    if not isinstance(asked, dict):
        return Wrong("missing_required_parameter", "`body` must be an object", line, "body")
    if not isinstance(asked.get("model"), str) or not asked["model"]:
        return Wrong("missing_required_parameter", "`body.model` must be a text", line, "body.model")
    if asked.get("stream"):
        return Wrong("invalid_value", "an answer in a batch cannot be streamed", line, "body.stream")
    return name
