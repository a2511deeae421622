"""One thread owns the model: it reads new prompts, lets them join the running batch, and hands out text as it comes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from serving.engines.batch import Batch
from serving.engines.requests import Sampling
from serving.engines.sampling import NOT_FINITE, Chooser, Chosen, Grammar, choose, score
from serving.engines.text import AnswerText
from serving.openai_errors import Refusal

MOST_ROWS = 32  # answers that decode together
MOST_POSITIONS = 65_536  # rows times width: bounds the memory of keys and values (1.5 GB for the embedded model)
MOST_WAITING = 256
PART = 512  # tokens of a prompt read between two steps, so that running answers hardly pause
SOON = {"retry-after": "1"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an answer: more text, its end with a reason, or its failure with a message."""

    index: int
    text: str = ""
    reason: str | None = None  # "stop", "length", "cancelled" or "error"
    tokens: int = 0  # produced so far
    message: str = ""
    chosen: tuple[Chosen, ...] = ()  # the tokens since the last event, where their probabilities are asked for
    prompt: tuple[Chosen | None, ...] = ()  # with the first event, where asked for: the prompt's; the first has none

    @property
    def is_last(self) -> bool:
        return self.reason is not None


@dataclass(eq=False)
class Answer:
    """One answer being made. `deliver` is called from the decode thread."""

    index: int
    prompt: Sequence[int]
    limit: int  # tokens it may have
    sampling: Sampling
    deliver: Callable[[Event], None]
    grammar: Grammar | None = None
    cancelled: bool = False
    tokens: int = 0
    newest: int = 0  # the token to feed next
    read: int = 0  # tokens of the prompt read so far
    cache: DynamicCache = field(default_factory=DynamicCache)
    chosen: list[Chosen] = field(default_factory=list)  # not told yet
    prompt_scores: list[Chosen | None] = field(default_factory=list)  # not told yet
    text: AnswerText = field(init=False)
    chooser: Chooser = field(init=False)

    @property
    def longest(self) -> int:
        return len(self.prompt) + self.limit


class Scheduler:
    """Continuous batching: `submit` an answer, `cancel` it, `close` to stop; everything else happens in its thread."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: int = MOST_ROWS,
        positions: int = MOST_POSITIONS,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self._tokenizer = tokenizer
        self._ends = _end_tokens(model, tokenizer)
        self._rows = rows
        self._positions = positions
        self._died = died
        self._batch = Batch(model)
        self._waiting: deque[Answer] = deque()
        self._reading: Answer | None = None
        self._running: list[Answer] = []
        self._changed = threading.Condition()
        self._closed = False
        self.failure: str | None = None  # set once the model has died; nothing is answered after that
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Answers being made now, those whose prompt is still being read included."""
        return len(self._running) + (self._reading is not None)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, answers: Sequence[Answer]) -> None:
        """Queue the answers to one request, or raise Refusal where there is no room for them."""
        for answer in answers:
            answer.text = AnswerText(self._decode, answer.sampling.stop)
            answer.chooser = Chooser(answer.sampling, answer.grammar)
        with self._changed:
            if self.failure or self._closed:
                message = self.failure or "the engine is stopping"
                raise Refusal(503, message, code="engine_failed", headers=SOON)
            if len(self._waiting) + len(answers) > MOST_WAITING:
                raise Refusal(429, "too many requests are waiting", code="rate_limit_exceeded", headers=SOON)
            self._waiting.extend(answers)
            self._changed.notify()

    def cancel(self, answers: Sequence[Answer]) -> None:
        """Stop making these answers before the next step; what has ended already is left alone."""
        with self._changed:
            for answer in answers:
                answer.cancelled = True
            self._changed.notify()

    def close(self) -> None:
        """Stop the thread; whoever still waits gets a last event."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                while self._wait():
                    self._drop_cancelled()
                    self._read_some()
                    self._step()
            self._end_all("the engine is stopping")
        except Exception as error:  # whatever the model died of, nobody may wait for ever
            log.exception("the model died")
            self.failure = f"the model died: {type(error).__name__}"
            self._end_all(self.failure)
            self._died()

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._reading or self._running)
            return not self._closed

    def _drop_cancelled(self) -> None:
        with self._changed:
            gone = [answer for answer in self._waiting if answer.cancelled]
            for answer in gone:
                self._waiting.remove(answer)
        for answer in gone:
            _end(answer, "cancelled")
        if self._reading and self._reading.cancelled:
            _end(self._reading, "cancelled")
            self._reading = None
        for answer in self._running:
            if answer.cancelled:
                _end(answer, "cancelled")
        self._keep([not answer.cancelled for answer in self._running])

    def _read_some(self) -> None:
        answer = self._reading or self._next()
        if answer is None:
            return
        self._reading = answer
        part = answer.prompt[answer.read : answer.read + PART]
        logits = self._batch.read(part, answer.cache, every=answer.sampling.score_prompt)
        answer.read += len(part)
        if answer.sampling.score_prompt:
            _score_prompt(answer, logits, len(part))
        if answer.read < len(answer.prompt):
            return
        self._reading = None
        if answer.limit == 0:
            _end(answer, "length")
        elif self._take(answer, choose(logits[-1:], [answer.chooser])[0]):
            self._batch.join(answer.cache, answer.read)
            self._running.append(answer)
        answer.cache = DynamicCache()

    def _next(self) -> Answer | None:
        with self._changed:
            if not self._waiting or len(self._running) >= self._rows:
                return None
            widest = max([self._waiting[0].longest, *(answer.longest for answer in self._running)])
            if self._running and widest * (len(self._running) + 1) > self._positions:
                return None
            return self._waiting.popleft()

    def _step(self) -> None:
        if not self._running:
            return
        logits = self._batch.step([answer.newest for answer in self._running])
        chosen = choose(logits, [answer.chooser for answer in self._running])
        self._keep([self._take(answer, one) for answer, one in zip(self._running, chosen, strict=True)])

    def _take(self, answer: Answer, chosen: Chosen | None) -> bool:
        """Give an answer its next token and return whether it goes on."""
        if chosen is None:
            _end(answer, "error", message=NOT_FINITE)
            return False
        answer.newest = token = chosen.token
        answer.tokens += 1
        if token in self._ends:
            _end(answer, "stop", answer.text.finish())
            return False
        if chosen.logprob is not None:
            answer.chosen.append(chosen)
        text = answer.text.push(token)
        if answer.text.stopped:
            _end(answer, "stop", text)
        elif answer.tokens >= answer.limit:
            _end(answer, "length", text + answer.text.finish())
        else:
            if text:
                _tell(answer, text)
            return True
        return False

    def _keep(self, stays: Sequence[bool]) -> None:
        if all(stays):
            return
        rows = [row for row, stay in enumerate(stays) if stay]
        self._batch.keep(rows)
        self._running = [self._running[row] for row in rows]

    def _end_all(self, message: str) -> None:
        with self._changed:
            left = [*self._running, *([self._reading] if self._reading else []), *self._waiting]
            self._running, self._reading = [], None
            self._waiting.clear()
            self._closed = True
        for answer in left:
            _end(answer, "error", message=message)


def _end(answer: Answer, reason: str, text: str = "", *, message: str = "") -> None:
    _tell(answer, text, reason=reason, message=message)


def _tell(answer: Answer, text: str, *, reason: str | None = None, message: str = "") -> None:
    event = Event(answer.index, text, reason, answer.tokens, message, tuple(answer.chosen), tuple(answer.prompt_scores))
    answer.chosen.clear()
    answer.prompt_scores.clear()
    answer.deliver(event)


def _score_prompt(answer: Answer, logits: torch.Tensor, part: int) -> None:
    """Note how likely the tokens after those just read were; the logits are of all `part` places."""
    start = answer.read - part
    if start == 0:
        answer.prompt_scores.append(None)
    following = answer.prompt[start + 1 : answer.read + 1]
    answer.prompt_scores += score(logits[: len(following)], following, answer.sampling.logprobs or 0)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    told = getattr(model.generation_config, "eos_token_id", None)
    several = told if isinstance(told, list) else [told]
    return frozenset(token for token in [*several, tokenizer.eos_token_id] if token is not None)
