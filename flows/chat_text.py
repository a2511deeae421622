"""A rendered chat prompt becomes messages: `system:`, `user:` and `assistant:` on lines of their own begin one each."""

from __future__ import annotations

import re
from typing import Any

HEADING = re.compile(r"^\s*#?\s*(system|user|assistant|function|tool)\s*:[ \t]*\n", re.IGNORECASE | re.MULTILINE)
GUARD = "\u2063"  # an invisible separator: what it precedes is no heading


def parse(text: str) -> list[dict[str, Any]]:
    """Return the messages of a rendered prompt; raises ValueError where text stands before the first role.

    >>> parse("system:\\nBe brief.\\nuser:\\nHi")
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    """
    parts = HEADING.split(text if text.endswith("\n") else f"{text}\n")
    if parts[0].strip() or len(parts) == 1:
        first = parts[0].strip().splitlines()[0] if parts[0].strip() else ""
        raise ValueError(f"a chat prompt begins with a role on its own line, such as `user:`, not with {first!r}")
    roles, contents = parts[1::2], parts[2::2]
    return [
        {"role": role.lower(), "content": content.strip().replace(GUARD, "")}
        for role, content in zip(roles, contents, strict=True)
    ]


def guard(value: Any) -> Any:
    """Return a value whose text cannot begin a message, whoever wrote it: lines that look like a role are marked."""
    if isinstance(value, str):
        return HEADING.sub(lambda match: match[0].replace(match[1], GUARD + match[1]), f"{value}\n")[:-1]
    if isinstance(value, list):
        return [guard(item) for item in value]
    if isinstance(value, dict):
        return {key: guard(item) for key, item in value.items()}
    return value
