"""A rendered chat prompt becomes messages: `system:`, `user:` and their like, on lines of their own, begin one each.

Only the author of a template can begin a message. Headings in the template's own text carry a mark that no value can
know, and once a prompt is rendered only marked headings count. A value may say `system:` on a line of its own, in
pieces or joined by a filter: it stays text, to the letter.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

ROLES = ("system", "user", "assistant", "function", "tool")

# Digits, so that `upper`, `tojson` or `urlencode` in a template leave them alone. A new number each process.
_NUMBER = secrets.randbelow(9 * 10**17) + 10**17
WHOLE = f"~{_NUMBER}1~"  # before a heading
OPEN = f"~{_NUMBER}2~"  # before a role that a value or a branch of the template names
COLON = f"~{_NUMBER}3~"  # before the colon after it
MARK = re.compile(f"~{_NUMBER}[123]~")

# Possessive, as every repetition here: a long value of blanks must not take the square of its length to look at.
_BLANK = r"[^\S\n]*+"
_EMPTY_LINES = rf"(?:{_BLANK}\n)*+"
_ROLE = "|".join(ROLES)
_FIELDS = "name|content|tool_calls|tool_call_id"

# In a template's own text, where marks go.
HEADING = re.compile(rf"^({_BLANK}#?{_BLANK})((?:{_ROLE}){_BLANK}:{_BLANK}\n)", re.IGNORECASE | re.MULTILINE)
FIELD = re.compile(rf"^({_BLANK}\#{{0,2}}{_BLANK})((?:{_FIELDS}){_BLANK}:)", re.MULTILINE)
ROLE_AT_END = re.compile(rf"((?:^|\n){_BLANK}#?{_BLANK})((?:{_ROLE}){_BLANK})\Z", re.IGNORECASE)
COLON_AT_START = re.compile(rf"\A{_BLANK}:{_BLANK}\n")
LINE_AT_END = re.compile(rf"(?:^|\n){_BLANK}#?{_BLANK}\Z")


class Prompt(str):
    """A rendered prompt: to everybody the plain text, to another prompt it is put into also its headings.

    `images` are those shown in it, by the token that stands for each in the text.
    """

    marked: str
    images: Mapping[str, Any]

    def __new__(cls, marked: str, images: Mapping[str, Any] | None = None) -> Prompt:
        """Make one from text with marks."""
        made = super().__new__(cls, MARK.sub("", marked))
        made.marked = marked
        made.images = dict(images or {})
        return made


def parse(text: str, *, images: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the messages of a prompt; raises ValueError where text stands before the first role.

    Of a `Prompt` only the headings of its templates begin messages, of any other text all that look like one.
    A line that is the token of an image becomes a part of its own.

    >>> parse("system:\\nBe brief.\\nuser:\\nHi")
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    """
    reader = _MARKED if isinstance(text, Prompt) else _PLAIN
    shown = dict(text.images) if isinstance(text, Prompt) else {}
    shown |= images or {}
    whole = text.marked if isinstance(text, Prompt) else text
    found = list(reader.heading.finditer(whole))
    before = _said(whole[: found[0].start()] if found else whole).strip()
    if before or not found:
        first = next(iter(before.splitlines()), "")
        raise ValueError(
            f"a chat prompt begins with a role on its own line, such as `user:`, not with {first[:80]!r}; "
            f"roles are {', '.join(ROLES)}, and only the template's own text can name them"
        )
    ends = [match.start() for match in found[1:]] + [len(whole)]
    return [
        reader.message((match[1] or match[2]).lower(), whole[match.end() : end], shown)
        for match, end in zip(found, ends, strict=True)
    ]


class _Reader:
    """Reads messages whose headings are marked, or (`mark` is empty) any that look like one."""

    def __init__(self, *, marked: bool) -> None:
        whole, opened, colon = (WHOLE, OPEN, COLON) if marked else ("", "(?!)", "")
        role = rf"(?:{whole}({_ROLE})|{opened}{_BLANK}({_ROLE}))"
        self.heading = re.compile(
            rf"^{_BLANK}#?{_BLANK}{role}{_BLANK}(?:{colon})?{_BLANK}:{_BLANK}\n", re.IGNORECASE | re.MULTILINE
        )
        field = rf"{_BLANK}#{{0,2}}{_BLANK}{whole}"
        value = rf"{_BLANK}:{_BLANK}\n\s*+(\S++){_BLANK}\n{_EMPTY_LINES}{field}content{_BLANK}:{_BLANK}\n?(.*)\Z"
        self.named = re.compile(rf"\A{_EMPTY_LINES}{field}name{value}", re.DOTALL)
        self.answering = re.compile(rf"\A{_EMPTY_LINES}{field}tool_call_id{value}", re.DOTALL)
        self.calling = re.compile(rf"^{field}tool_calls{_BLANK}:{_BLANK}\n\s*+(\[.*\])\s*\Z", re.DOTALL | re.MULTILINE)

    def message(self, role: str, body: str, images: Mapping[str, Any]) -> dict[str, Any]:
        """Return one message; raises ValueError where its role asks for more than is there."""
        body = body.replace("\r\n", "\n")
        if role == "tool":
            if not (match := self.answering.match(body)):
                raise ValueError("a `tool` message needs `tool_call_id:` and `content:`, each on a line of its own")
            return {"role": role, "tool_call_id": _said(match[1]), "content": _content(match[2], images)}
        match = self.calling.search(body) if role == "assistant" else None
        if match and (calls := _calls(_said(match[1]))) is not None:
            before = _content(body[: match.start()], images)
            return {"role": role, **({"content": before} if before else {}), "tool_calls": calls}
        if match := self.named.match(body):
            return {"role": role, "name": _said(match[1]), "content": _content(match[2], images)}
        if role == "function":
            raise ValueError("a `function` message needs `name:` and `content:`, each on a line of its own")
        return {"role": role, "content": _content(body, images)}


_MARKED = _Reader(marked=True)
_PLAIN = _Reader(marked=False)


def _said(text: str) -> str:
    return MARK.sub("", text)


def _content(text: str, images: Mapping[str, Any]) -> Any:
    """Return a text, or where images stand in it a list of parts."""
    text = _said(text).strip()
    if not images:
        return text
    parts: list[dict[str, Any]] = []
    lines: list[str] = []

    def end_text() -> None:
        if said := "\n".join(lines).strip():
            parts.append({"type": "text", "text": said})
        lines.clear()

    for line in text.split("\n"):
        if (image := images.get(line.strip())) is None:
            lines.append(line)
            continue
        end_text()
        parts.append({"type": "image_url", "image_url": {"url": image_url(image), "detail": "auto"}})
    end_text()
    return parts if any(part["type"] == "image_url" for part in parts) else text


def image_url(image: Any) -> str:
    """Return where an image is: its address, or itself as a `data:` URL."""
    return str(getattr(image, "source_url", None) or image.to_base64(with_type=True))


def _calls(text: str) -> Any:
    """Read `tool_calls`: a Python literal as prompt flow writes it, or JSON."""
    for read in (ast.literal_eval, json.loads):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        return found
    return None
