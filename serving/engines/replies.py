"""One answer on its way from the scheduler's events to what OpenAI's clients read of it, streamed or whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.chat_templates import Call
from serving.engines.logprobs import Shown, TextLogprobs, chat_logprobs, joined
from serving.engines.requests import Chat, Completion
from serving.engines.sampling import Chosen
from serving.engines.scheduler import Event
from serving.engines.shapes import Finished
from serving.engines.tool_calls import Argued, Begun, CallReader, Piece, Said
from serving.engines.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Told:
    """What is new of an answer: pieces of it, the probabilities of its tokens, and its end with the reason."""

    pieces: Sequence[Piece]
    logprobs: dict[str, Any] | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt as it was read, and what of it is repeated before the answer."""

    tokens: Sequence[int]
    field: str  # of the request, that it came in
    echoed: str = ""
    unseen: int = 0  # tokens put before its text, such as the one that begins every text


class Telling:
    """The pieces of one answer, in order: `push` each event."""

    def __init__(self, ask: Chat | Completion, prompt: Prompt, vocabulary: Vocabulary) -> None:
        offered = ask.offer.names if isinstance(ask, Chat) else frozenset()
        sampling = ask.options.sampling
        self._prompt = prompt
        self._echo = isinstance(ask, Completion) and ask.echo
        self._calls = CallReader(offered) if offered else None
        self._score: Callable[[Event], dict[str, Any] | None] = lambda _: None
        if sampling.logprobs is not None:
            is_chat = isinstance(ask, Chat)
            shown = Shown(vocabulary, stops=bool(sampling.stop), with_end=not is_chat)
            self._score = _in_chat(shown, vocabulary) if is_chat else _in_text(shown, vocabulary, prompt)

    def push(self, event: Event) -> Told:
        """Take what happened to the answer and return what is to be told of it."""
        pieces: list[Piece] = []
        if self._echo:
            self._echo = False
            pieces.append(Said(self._prompt.echoed))
        if self._calls is None:
            pieces += [Said(event.text)] if event.text else []
        else:
            pieces += self._calls.push(event.text)
            pieces += self._calls.finish() if event.is_last else []
        called = self._calls is not None and self._calls.calls > 0
        reason = "tool_calls" if called and event.reason == "stop" else event.reason
        return Told(pieces, self._score(event), reason)


def _in_chat(shown: Shown, vocabulary: Vocabulary) -> Callable[[Event], dict[str, Any] | None]:
    def score(event: Event) -> dict[str, Any] | None:
        told = shown.push(event)
        return chat_logprobs(vocabulary, told) if told else None

    return score


def _in_text(shown: Shown, vocabulary: Vocabulary, prompt: Prompt) -> Callable[[Event], dict[str, Any] | None]:
    told = TextLogprobs(vocabulary)

    def score(event: Event) -> dict[str, Any] | None:
        parts = [told.prompt(prompt.tokens, event.prompt, unseen=prompt.unseen)] if event.prompt else []
        fresh = shown.push(event)
        parts += [told.answer(fresh)] if fresh else []
        return joined(parts) if parts else None

    return score


@dataclass
class Gathered:
    """One answer that is told as a whole."""

    telling: Telling
    text: str = ""
    reason: str = ""
    _calls: list[Call] = field(default_factory=list)
    _logprobs: list[dict[str, Any]] = field(default_factory=list)
    _chosen: list[Chosen] = field(default_factory=list)

    def push(self, event: Event) -> None:
        """Take what happened to the answer."""
        told = self.telling.push(event)
        for piece in told.pieces:
            if isinstance(piece, Said):
                self.text += piece.text
            elif isinstance(piece, Begun):
                self._calls.append(Call(piece.id, piece.name, ""))
            elif isinstance(piece, Argued):
                call = self._calls[-1]
                self._calls[-1] = Call(call.id, call.name, call.arguments + piece.text)
        if told.logprobs:
            self._logprobs.append(told.logprobs)
        self._chosen += event.chosen
        self.reason = told.reason or ""

    @property
    def mean(self) -> float:
        """How likely the model held the answer, as the mean over its tokens: what `best_of` goes by."""
        return sum(one.logprob or 0.0 for one in self._chosen) / max(1, len(self._chosen))

    def finished(self, *, chat: bool, scored: bool) -> Finished:
        """Return the whole answer."""
        logprobs: dict[str, Any] | None = None
        if scored and chat:
            content = [entry for part in self._logprobs for entry in part["content"]]
            logprobs = {"content": content, "refusal": None}
        elif scored:
            logprobs = joined(self._logprobs)
        return Finished(self.text, self.reason, tuple(self._calls), logprobs)


def best(answers: Sequence[Gathered], n: int) -> Sequence[Gathered]:
    """Return the `n` answers to a prompt that the model held likeliest; all of them stay in order."""
    return answers if n == len(answers) else sorted(answers, key=lambda answer: -answer.mean)[:n]
