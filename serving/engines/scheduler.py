"""One thread owns the model: it reads new prompts, lets them join the running batch, and hands out text as it comes.

Rows are let in by what they need now, not by what they may need in the end. Where the memory for keys and values then
becomes too narrow, the newest row makes room and is read again later, from where its prefix was kept: nobody notices.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from serving.engines.adapters import Adapter
from serving.engines.batch import Part, Reading, batch_of
from serving.engines.delivery import Delivery
from serving.engines.prefixes import BLOCK, Prefixes
from serving.engines.requests import Sampling
from serving.engines.sampling import Chooser, Chosen, Grammar, choose, score
from serving.engines.text import AnswerText
from serving.engines.threads import Threads
from serving.openai_errors import Refusal

MOST_ROWS = 64  # answers that decode together
MOST_WAITING = 256
PART = 512  # tokens of prompts read at once
PART_BESIDE = 256  # and where answers are running, which pause meanwhile
AHEAD = 256  # positions that every row should have free for a new one to be let in
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
    adapter: Adapter | None = None
    cancelled: bool = False
    said: list[int] = field(default_factory=list)  # the tokens produced; the last one is fed next
    cached: int = 0  # tokens of the prompt that were not read, for one before it began alike
    chosen: list[Chosen] = field(default_factory=list)  # not told yet
    prompt_scores: list[Chosen | None] = field(default_factory=list)  # not told yet
    text: AnswerText = field(init=False)
    chooser: Chooser = field(init=False)

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return len(self.said)

    @property
    def behind(self) -> Sequence[int]:
        """The tokens whose keys and values its row holds, or will hold once it is read."""
        return [*self.prompt, *self.said[:-1]] if self.said else self.prompt

    @property
    def width(self) -> int:
        return len(self.prompt) + max(0, len(self.said) - 1)


class Scheduler:
    """Continuous batching: `submit` an answer, `cancel` it, `close` to stop; everything else happens in its thread."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        rows: int = MOST_ROWS,
        positions: int | None = None,
        died: Callable[[], None] = lambda: None,
        threads: Threads | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._ends = end_tokens(model, tokenizer)
        self._rows = rows
        self._died = died
        self._threads = threads
        self._deliveries: WeakKeyDictionary[asyncio.AbstractEventLoop, Delivery] = WeakKeyDictionary()
        self._batch = batch_of(model)
        self._positions = positions or self._batch.positions
        self._prefixes = Prefixes()
        self._waiting: deque[Answer] = deque()
        self._reading: dict[Answer, Reading] = {}
        self._running: list[Answer] = []
        self._changed = threading.Condition()
        self._closed = False
        self.tokens_read = 0  # of prompts; those found in a kept prefix are not among them
        self.failure: str | None = None  # set once the model has died; nothing is answered after that
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        """Answers being made now, those whose prompt is still being read included."""
        return len(self._running) + len(self._reading)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def delivery(self, loop: asyncio.AbstractEventLoop) -> Delivery:
        """Return the way by which events reach a loop, one for all its answers."""
        return self._deliveries.setdefault(loop, Delivery(loop))

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
                    if self._threads and (count := self._threads.look(time.monotonic())):
                        torch.set_num_threads(count)
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
        for answer in [answer for answer in self._reading if answer.cancelled]:
            del self._reading[answer]
            _end(answer, "cancelled")
        for answer in self._running:
            if answer.cancelled:
                _end(answer, "cancelled")
        self._keep([not answer.cancelled for answer in self._running])

    def _read_some(self) -> None:
        while answer := self._next():
            self._open(answer)
        left = PART_BESIDE if self._running else PART
        parts: dict[Answer, Part] = {}
        for answer, reading in self._reading.items():
            tokens = answer.behind[reading.length :][:left]
            parts[answer] = Part(reading, tokens, _wanted(answer, reading.length + len(tokens), len(tokens)))
            left -= len(tokens)
            self.tokens_read += len(tokens)
            if not left:
                break
        if parts:
            found = self._batch.read(list(parts.values()))
            self._have_read(parts, dict(zip(parts, found, strict=True)))

    def _have_read(self, parts: Mapping[Answer, Part], logits: Mapping[Answer, torch.Tensor]) -> None:
        for answer, part in parts.items():
            if answer.sampling.score_prompt and not answer.said:
                _score_prompt(answer, part, logits[answer])
        done = [answer for answer in parts if self._reading[answer].length == answer.width]
        begun = [answer for answer in done if not answer.said and answer.limit > 0]
        for answer in done:
            self._keep_prefix(answer, self._reading[answer])
        going_on = set(done)
        if begun:
            rows = torch.cat([logits[answer][-1:] for answer in begun])
            chosen = choose(rows, [answer.chooser for answer in begun])
            going_on -= {answer for answer, one in zip(begun, chosen, strict=True) if not self._take(answer, one)}
        for answer in done:
            if answer.limit == 0:
                _end(answer, "length")
            elif answer in going_on:
                self._batch.join(self._reading[answer])
                self._running.append(answer)
            del self._reading[answer]  # last: whoever counts meanwhile does not miss it

    def _next(self) -> Answer | None:
        """Return who waits longest, if there is room and what it shares with a prompt being read is kept by now."""
        with self._changed:
            others = [*self._running, *self._reading]
            if not self._waiting or len(others) >= self._rows:
                return None
            first = self._waiting[0]
            widest = max(first.width, *(answer.width for answer in others)) if others else first.width
            if others and (widest + AHEAD) * (len(others) + 1) > self._positions:
                return None
            if self._batch.shares and any(_begins_alike(first, *other) for other in self._reading.items()):
                return None
            return self._waiting.popleft()

    def _open(self, answer: Answer) -> None:
        reading = self._reading[answer] = self._batch.open(answer.width, answer.adapter)
        if self._batch.shares and not answer.sampling.score_prompt:
            for taken in self._prefixes.find(answer.adapter, answer.behind):
                self._batch.put(reading, taken)
            if not answer.said:
                answer.cached = reading.length

    def _keep_prefix(self, answer: Answer, row: int | Reading) -> None:
        if self._batch.shares:
            self._prefixes.keep(answer.adapter, answer.behind, lambda start, stop: self._batch.taken(row, start, stop))

    def _step(self) -> None:
        self._make_room()
        if not self._running:
            return
        logits = self._batch.step([answer.said[-1] for answer in self._running])
        chosen = choose(logits, [answer.chooser for answer in self._running])
        self._keep([self._take(answer, one) for answer, one in zip(self._running, chosen, strict=True)])

    def _make_room(self) -> None:
        """Send the newest rows back to those who wait, as many as must go for all others to grow by a token."""
        rows = len(self._running)
        while rows > 1 and (max(answer.width for answer in self._running[:rows]) + 1) * rows > self._positions:
            rows -= 1
        back = self._running[rows:]
        self._keep([row < rows for row in range(len(self._running))])
        with self._changed:
            self._waiting.extendleft(reversed(back))

    def _take(self, answer: Answer, chosen: Chosen | None) -> bool:
        """Give an answer its next token and return whether it goes on."""
        if chosen is None:
            _end(answer, "error", message=answer.chooser.failure)
            return False
        token = chosen.token
        answer.said.append(token)
        if chosen.logprob is not None:
            answer.chosen.append(chosen)
        if token in self._ends:
            _end(answer, "stop", answer.text.finish())
            return False
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
        """Let the other rows leave; the last ones take their places, so that little is moved."""
        if all(stays):
            return
        for row, answer in enumerate(self._running):
            if not stays[row]:
                self._keep_prefix(answer, row)
        rows = [row for row, stay in enumerate(stays) if stay]
        free = [row for row in range(len(rows)) if not stays[row]]
        moved = rows[len(rows) - len(free) :]
        rows = [moved.pop() if row in free else row for row in range(len(rows))]
        self._batch.keep(rows)
        self._running = [self._running[row] for row in rows]

    def _end_all(self, message: str) -> None:
        with self._changed:
            left = [*self._running, *self._reading, *self._waiting]
            self._running, self._reading = [], {}
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


def _wanted(answer: Answer, end: int, count: int) -> int:
    """Return after how many of the last `count` tokens before `end` the logits are needed."""
    if answer.sampling.score_prompt and not answer.said:
        return count
    return int(end == answer.width)


def _begins_alike(waiting: Answer, other: Answer, reading: Reading) -> bool:
    """Whether it is worth waiting for what is read for another: it would be read twice now."""
    end = reading.length // BLOCK * BLOCK + BLOCK
    same = waiting.adapter is other.adapter and waiting.prompt[:end] == other.prompt[:end]
    return same and min(len(waiting.prompt) - 1, len(other.prompt)) >= end and not waiting.sampling.score_prompt


def _score_prompt(answer: Answer, part: Part, logits: torch.Tensor) -> None:
    """Note how likely the tokens after those just read were; the logits are of all their places."""
    start = part.reading.length - len(part.tokens)
    if start == 0:
        answer.prompt_scores.append(None)
    following = answer.prompt[start + 1 : part.reading.length + 1]
    answer.prompt_scores += score(logits[: len(following)], following, answer.sampling.logprobs or 0)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens by which a model ends an answer."""
    told = getattr(model.generation_config, "eos_token_id", None)
    several = told if isinstance(told, list) else [told]
    return frozenset(token for token in [*several, tokenizer.eos_token_id] if token is not None)
