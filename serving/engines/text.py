"""Tokens to text, as they come: no broken character and no part of a stop string is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
LONGEST_CHARACTER = 8  # tokens: four bytes of UTF-8, with room for tokens that straddle two characters


class AnswerText:
    """The text of one answer: `push` a token and get what can be shown now; `stopped` once a stop string is met."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: tuple[str, ...] = ()) -> None:
        self.stopped = False
        self._decode = decode
        self._stop = stop
        self._tokens: list[int] = []
        self._shown = 0  # tokens whose text is settled
        self._context = 0  # where decoding starts, a little earlier: a token's text depends on its left neighbour
        self._held = ""  # may yet become a stop string

    def push(self, token: int) -> str:
        """Take the next token and return the text that is certain by now, often one word."""
        self._tokens.append(token)
        text = self._decode(self._tokens[self._context :])
        if text.endswith(BROKEN) and len(self._tokens) - self._shown < LONGEST_CHARACTER:
            return ""
        settled = self._decode(self._tokens[self._context : self._shown])
        self._context, self._shown = self._shown, len(self._tokens)
        return self._release(text[len(settled) :])

    def finish(self) -> str:
        """Return what was held back; half a character at the very end is left out."""
        rest, self._held = self._held, ""
        return "" if self.stopped else rest

    def _release(self, new: str) -> str:
        text = self._held + new
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` begin `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-size:])), 0)
