"""How likely the model held its tokens, as OpenAI tells it: a list for chats, four parallel lists for completions."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from serving.engines.sampling import Chosen
from serving.engines.scheduler import Event
from serving.engines.vocabulary import Vocabulary

LEAST = -9999.0  # JSON has no infinity


class Shown:
    """The tokens of one answer whose text has been shown: what a stop string cut off is told nowhere."""

    def __init__(self, vocabulary: Vocabulary, *, stops: bool, with_end: bool) -> None:
        self._vocabulary = vocabulary
        self._stops = stops
        self._with_end = with_end  # tell the token that ended the answer too: harnesses count on it
        self._waiting: list[Chosen] = []
        self._text = 0  # bytes of text shown
        self._told = 0  # bytes that the tokens told so far stand for

    def push(self, event: Event) -> list[Chosen]:
        """Take what happened and return the tokens that are to be told with it."""
        self._text += len(event.text.encode())
        self._waiting += event.chosen
        told: list[Chosen] = []
        while self._waiting and (self._told < self._text or (event.is_last and self._is_kept(event))):
            told.append(self._waiting.pop(0))
            token = told[-1].token
            self._told += 0 if self._vocabulary.is_special(token) else len(self._vocabulary.bytes_of(token))
        return told

    def _is_kept(self, event: Event) -> bool:
        """Return whether the next token belongs to the answer though nothing of it was shown."""
        last = self._waiting[-1].token
        if event.reason != "stop":
            return True
        if not self._vocabulary.is_special(last):  # a stop string ended the answer
            return not self._stops
        return self._with_end or len(self._waiting) > 1


def chat_logprobs(vocabulary: Vocabulary, chosen: Sequence[Chosen]) -> dict[str, Any]:
    """Return the tokens of a chat with their probabilities."""
    content = []
    for one in chosen:
        top = [_entry(vocabulary, token, logprob) for token, logprob in one.top]
        content.append({**_entry(vocabulary, one.token, one.logprob or 0.0), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _entry(vocabulary: Vocabulary, token: int, logprob: float) -> dict[str, Any]:
    raw = vocabulary.bytes_of(token)
    return {"token": raw.decode(errors="replace"), "logprob": max(logprob, LEAST), "bytes": list(raw)}


class TextLogprobs:
    """The tokens of one completion with their probabilities, told piece by piece; offsets count characters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def prompt(self, tokens: Sequence[int], chosen: Sequence[Chosen | None], *, unseen: int) -> dict[str, Any]:
        """Return the tokens of the prompt; the first `unseen` were put before its text."""
        return self._told(tokens, chosen, unseen=unseen)

    def answer(self, chosen: Sequence[Chosen]) -> dict[str, Any]:
        """Return tokens of the answer."""
        return self._told([one.token for one in chosen], chosen)

    def _told(self, tokens: Sequence[int], chosen: Sequence[Chosen | None], *, unseen: int = 0) -> dict[str, Any]:
        offsets = []
        for place, token in enumerate(tokens):
            offsets.append(self._offset)
            if place >= unseen:
                self._offset += len(self._decoder.decode(self._vocabulary.bytes_of(token)))
        return {
            "tokens": [self._name(token) for token in tokens],
            "token_logprobs": [None if one is None else max(one.logprob or 0.0, LEAST) for one in chosen],
            "top_logprobs": [None if one is None else self._top(one) for one in chosen],
            "text_offset": offsets,
        }

    def _top(self, one: Chosen) -> dict[str, float]:
        """Return the likeliest tokens by name, with the one that came among them."""
        top: dict[str, float] = {}
        for token, logprob in (*one.top, (one.token, one.logprob or 0.0)):
            top.setdefault(self._name(token), max(logprob, LEAST))
        return top

    def _name(self, token: int) -> str:
        raw = self._vocabulary.bytes_of(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return several pieces of a completion's tokens as one."""
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    return {name: [value for part in parts for value in part[name]] for name in names}
