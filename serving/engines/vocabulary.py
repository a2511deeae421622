"""A model's tokens as bytes, and grammars over them, compiled by llguidance.

llguidance refuses what it cannot hold an answer to, where others let it pass; it needs nothing else to be installed,
and compiles a schema in milliseconds.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from serving.engines.fields import unsupported, wrong

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT = 64  # compiled grammars
LARGEST = 200_000  # characters of a grammar's source
# What may stand between the parts of a JSON document: enough to be indented, not enough to go on for ever.
BETWEEN = r"\n? {0,16}"


class Matching:
    """One answer on its way through a grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def failure(self) -> str | None:
        """Why the grammar can no longer be followed, if so."""
        return _reason(self._matcher) if self._matcher.is_error() else None

    def mask(self, row: torch.Tensor) -> None:
        """Set to minus infinity what may not come next."""
        ruled_out = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) == 0
        row[: len(ruled_out)].masked_fill_(ruled_out[: len(row)], float("-inf"))
        row[len(ruled_out) :] = float("-inf")  # places of the model that are no tokens

    def accept(self, token: int) -> None:
        """Take note of the token that came."""
        self._matcher.consume_token(token)


class Compiled:
    """A grammar; each answer takes its own way through it."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def begin(self) -> Matching:
        """Return a new way through the grammar."""
        return Matching(self._matcher.deep_copy())


class Vocabulary:
    """The tokens of one model. They are laid out when first needed, which takes a second; any thread may ask."""

    def __init__(self, tokenizer: Any, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = sorted(ends)
        self._lock = threading.Lock()
        self._tokens: LLTokenizer | None = None
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()

    def prepare(self, *, param: str) -> None:
        """Lay out the tokens, or refuse the field that needs them where the model's tokenizer cannot be read."""
        try:
            self._layout()
        except ValueError as error:
            told = f"the model's tokenizer does not allow for {param!r}: {error}"
            raise unsupported(told, param=param) from error

    def bytes_of(self, token: int) -> bytes:
        """Return what a token stands for; it may be a part of a character."""
        return self._layout().decode_bytes([token])

    def is_special(self, token: int) -> bool:
        """Return whether a token is a sign to the model, not text."""
        return self._layout().is_special_token(token)

    def compile(self, source: str, *, param: str) -> Compiled:
        """Return the grammar of a source in llguidance's notation, or refuse the field it came from."""
        from llguidance import LLMatcher

        self.prepare(param=param)
        with self._lock:
            if source in self._compiled:
                self._compiled.move_to_end(source)
                return self._compiled[source]
        if len(source) > LARGEST:
            raise wrong(f"a schema may have {LARGEST} characters", param=param)
        matcher = LLMatcher(self._layout(), source, log_level=0)
        begun = matcher.deep_copy()
        begun.compute_bitmask()  # where no token can be the first one, this tells
        if begun.is_error():
            raise wrong(f"no answer can be held to this schema: {_reason(begun)}", param=param)
        compiled = Compiled(matcher)
        with self._lock:
            self._compiled[source] = compiled
            while len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        return compiled

    def _layout(self) -> LLTokenizer:
        if self._tokens is None:
            from llguidance.hf import from_tokenizer

            with self._lock:
                self._tokens = self._tokens or from_tokenizer(self._tokenizer, eos_token=self._ends or None)
        return self._tokens


def json_rule(schema: Mapping[str, Any]) -> str:
    """Return a JSON Schema as a term of a grammar; its own wishes to llguidance count for nothing."""
    return "%json " + json.dumps({**schema, "x-guidance": {"whitespace_pattern": BETWEEN}})


def literal(text: str) -> str:
    """Return a text as a term of a grammar."""
    return json.dumps(text)


def _reason(matcher: LLMatcher) -> str:
    """Return the first lines of its error, without the state of the parser that may follow."""
    told = matcher.get_error().split("<state>")[0].strip()[:500]
    return "no text obeys it" if told.startswith("NoExtension") else told
