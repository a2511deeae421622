"""Calls of functions found in a model's text as it comes, so that they can be streamed as they are made."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Literal

from catalog.chat_templates import CLOSING, OPENING
from serving.engines.text import overlap

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')


@dataclass(frozen=True, slots=True)
class Said:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A call has begun: the number of it, its id, the function's name."""

    call: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Argued:
    """More of a call's arguments, a piece of JSON text."""

    call: int
    text: str


Piece = Said | Begun | Argued


class CallReader:
    """The pieces of one answer whose model may call the functions of these names: `push` its text, then `finish`.

    What looks like a call and is none, because it is not JSON or names no function on offer, is text.
    """

    def __init__(self, names: Set[str]) -> None:
        self.calls = 0
        self._names = names
        self._text = ""  # not decided yet
        self._at: Literal["text", "head", "arguments", "tail"] = "text"
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def push(self, text: str) -> list[Piece]:
        """Take more of the answer and return what is certain by now."""
        self._text += text
        pieces: list[Piece] = []
        steps = {"text": self._plain, "head": self._head, "arguments": self._arguments, "tail": self._tail}
        while True:
            before = self._at
            pieces += steps[before]()
            if self._at == before or not self._text:
                return pieces

    def finish(self) -> list[Piece]:
        """Return what was undecided at the end."""
        rest, self._text = self._text, ""
        if self._at == "head":
            return [Said(OPENING + rest)]
        return [Said(rest)] if self._at == "text" and rest and not (self.calls and rest.isspace()) else []

    def _plain(self) -> Iterator[Piece]:
        found = self._text.find(OPENING)
        if found >= 0:
            said, self._text = self._text[:found].rstrip(), self._text[found + len(OPENING) :]
            self._at = "head"
        else:  # blanks may turn out to stand before a call, and then belong to nobody
            sure = len(self._text) - overlap(self._text, OPENING)
            said = self._text[:sure].rstrip()
            self._text = self._text[len(said) :]
        if said:
            yield Said(said)

    def _head(self) -> Iterator[Piece]:
        head = _HEAD.match(self._text)
        if head:
            name = _name(head[1])
            if name is not None and name in self._names:
                self._text = self._text[head.end() :]
                self._at = "arguments"
                yield self._begun(name)
                return
        end = self._text.find(CLOSING)
        if end < 0:
            return
        body, self._text = self._text[:end], self._text[end + len(CLOSING) :]
        self._at = "text"
        yield from self._odd(body)

    def _odd(self, body: str) -> Iterator[Piece]:
        """Return what stands between two tags, where its order is not the usual."""
        try:
            call = json.loads(body)
        except (ValueError, RecursionError):
            call = None
        name = call.get("name") if isinstance(call, dict) else None
        arguments = call.get("arguments", call.get("parameters", {})) if isinstance(call, dict) else None
        if isinstance(name, str) and name in self._names and isinstance(arguments, dict):
            begun = self._begun(name)
            yield begun
            yield Argued(begun.call, json.dumps(arguments, ensure_ascii=False))
        else:
            yield Said(f"{OPENING}{body}{CLOSING}")

    def _arguments(self) -> Iterator[Piece]:
        for place, letter in enumerate(self._text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                self._escaped = letter == "\\"
                self._quoted = letter != '"'
            elif letter == '"':
                self._quoted = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "]}":
                self._depth -= 1
                if not self._depth:
                    piece, self._text = self._text[: place + 1], self._text[place + 1 :]
                    self._at = "tail"
                    yield Argued(self.calls - 1, piece)
                    return
        piece, self._text = self._text, ""
        if piece:
            yield Argued(self.calls - 1, piece)

    def _tail(self) -> Iterator[Piece]:
        end = self._text.find(CLOSING)
        if end >= 0:
            self._text = self._text[end + len(CLOSING) :]
            self._at = "text"
        yield from ()

    def _begun(self, name: str) -> Begun:
        self.calls += 1
        return Begun(self.calls - 1, f"call_{secrets.token_hex(12)}", name)


def _name(quoted: str) -> str | None:
    try:
        name: str = json.loads(quoted)
    except ValueError:
        return None
    return name
