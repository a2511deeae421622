"""A training row: what is asked, and what must be answered. Every other file here speaks in these words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from catalog.chat_templates import Message

Kind = Literal["chat", "text", "preference", "verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation with answers to learn from; assistant turns in `muted` are only read. Rows count from 1."""

    number: int
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    muted: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to be continued as it is, without a chat template; of one without a prompt all is learnt."""

    number: int
    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Two answers to the same question, the better one and the worse one."""

    number: int
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, and whether it was a good one."""

    number: int
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    good: bool
    tools: tuple[Mapping[str, Any], ...] = ()


Row = Conversation | Text | Preference | Verdict
