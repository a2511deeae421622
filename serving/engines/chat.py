"""A chat model behind a scheduler: conversations to tokens, submitted, and their events back on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving import sizes
from serving.engines.adapters import Adapter, Adapters
from serving.engines.fields import wrong
from serving.engines.grammars import grammar
from serving.engines.replies import Prompt
from serving.engines.requests import Chat, Completion, Options, Sampling
from serving.engines.scheduler import Answer, Event, Scheduler, end_tokens
from serving.engines.templates import Template
from serving.engines.threads import Threads
from serving.engines.tools import NOTHING
from serving.engines.vocabulary import Compiled, Vocabulary
from serving.engines.weights import context_length, device, dtype_of, fingerprint, laid_out, loading


@dataclass(frozen=True)
class ChatModel:
    """A loaded model that continues conversations and texts."""

    tokenizer: Any
    scheduler: Scheduler
    context_length: int
    fingerprint: str
    template: Template
    vocabulary: Vocabulary
    adapters: Adapters

    def prompts(self, ask: Chat | Completion) -> list[Prompt]:
        """Return the prompts of a request as token numbers."""
        if isinstance(ask, Completion):
            return [self._prompt(prompt) for prompt in ask.prompts]
        text = self.template.render(ask.messages, ask.offer)
        return [Prompt(tokens=self.tokenizer(text, add_special_tokens=False)["input_ids"], field="messages")]

    async def prepare(self, ask: Chat | Completion) -> Compiled | None:
        """Return the grammar that holds the answers, where a request asks for one; other requests do not wait."""
        offer = ask.offer if isinstance(ask, Chat) else NOTHING
        if ask.options.sampling.logprobs is not None:
            await asyncio.to_thread(self.vocabulary.prepare, param="logprobs")
        if ask.options.schema is None and not offer.tools:
            return None
        return await asyncio.to_thread(grammar, self.vocabulary, ask.options.schema, offer)

    def answers(
        self,
        prompts: Sequence[Prompt],
        options: Options,
        held: Compiled | None = None,
        adapter: Adapter | None = None,
    ) -> Answers:
        """Start answering every prompt `options.best_of` times."""
        sampling = options.sampling
        for token, _ in sampling.logit_bias:
            if token >= len(self.tokenizer):
                raise wrong(f"token {token} is not in the vocabulary of {len(self.tokenizer)}", param="logit_bias")
        limits = [self._room(prompt, sampling.max_tokens) for prompt in prompts]
        if options.best_of > options.n and sampling.logprobs is None:
            options = replace(options, sampling=replace(sampling, logprobs=0))
        rooms = [(prompt.tokens, limit) for prompt, limit in zip(prompts, limits, strict=True)]
        return Answers(self.scheduler, rooms, options, held, adapter)

    def _prompt(self, prompt: str | tuple[int, ...]) -> Prompt:
        if isinstance(prompt, str):
            tokens: list[int] = self.tokenizer(prompt)["input_ids"] or [self.tokenizer.bos_token_id or 0]
            opened = not prompt or (tokens[0] == self.tokenizer.bos_token_id and not self._opens(prompt))
            return Prompt(tokens=tokens, field="prompt", echoed=prompt, unseen=1 if opened else 0)
        if max(prompt) >= len(self.tokenizer):
            raise wrong(f"token {max(prompt)} is not in the vocabulary of {len(self.tokenizer)}", param="prompt")
        text = self.tokenizer.decode(prompt, clean_up_tokenization_spaces=False)
        return Prompt(tokens=prompt, field="prompt", echoed=text)

    def _opens(self, prompt: str) -> bool:
        return prompt.startswith(str(self.tokenizer.bos_token))

    def _room(self, prompt: Prompt, asked: int | None) -> int:
        """Return how many tokens an answer to the prompt may have."""
        read, answer = len(prompt.tokens), 1 if asked is None else asked
        if read + answer > self.context_length:
            raise wrong(
                f"this model's context is {self.context_length} tokens, and {read + answer} were asked for "
                f"({read} in the prompt, {answer} in the answer)",
                param=prompt.field if read >= self.context_length else "max_tokens",
                code="context_length_exceeded",
            )
        return self.context_length - read if asked is None else asked


class Answers:
    """The answers to one request: iterate over their events, then `close`, which cancels what still runs."""

    def __init__(
        self,
        scheduler: Scheduler,
        prompts: Sequence[tuple[Sequence[int], int]],
        options: Options,
        held: Compiled | None,
        adapter: Adapter | None,
    ) -> None:
        self._scheduler = scheduler
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._each = options.best_of
        delivery = scheduler.delivery(asyncio.get_running_loop())

        def deliver(event: Event) -> None:
            delivery.post(self._events.put_nowait, event)

        self.prompt_tokens = sum(len(prompt) for prompt, _ in prompts)
        self.tokens = 0
        self._answers = [
            Answer(
                index * self._each + choice,
                prompt,
                limit,
                sampling,
                deliver,
                grammar=held.begin() if held else None,
                adapter=adapter,
            )
            for index, (prompt, limit) in enumerate(prompts)
            for choice, sampling in enumerate(_differing(options))
        ]
        scheduler.submit(self._answers)

    @property
    def cached_tokens(self) -> int:
        """How many of the prompt tokens were not read, for a prompt before began alike."""
        return sum(answer.cached for answer in self._answers[:: self._each])

    def __len__(self) -> int:
        return len(self._answers)

    async def __aiter__(self) -> AsyncIterator[Event]:
        left = len(self._answers)
        while left:
            event = await self._events.get()
            if event.is_last:
                left -= 1
                self.tokens += event.tokens
            yield event

    def close(self) -> None:
        self._scheduler.cancel(self._answers)


def _differing(options: Options) -> list[Sampling]:
    """Return how each answer to a prompt is sampled: of one seed, but not all alike."""
    sampling = options.sampling
    if sampling.seed is None:
        return [sampling] * options.best_of
    return [replace(sampling, seed=sampling.seed + choice) for choice in range(options.best_of)]


def load_chat(
    folder: Path,
    *,
    dtype: str,
    died: Callable[[], None],
    threads: Threads | None = None,
    adapters: Mapping[str, Path] | None = None,
) -> ChatModel:
    """Load a causal language model and start its decode thread; `died` is called if the model fails for good."""
    with loading(folder):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype_of(dtype), local_files_only=True)
    model = laid_out(model.to(device()).eval(), halve=dtype == "auto" and sizes.is_narrow(folder))
    loaded = Adapters(model)
    for name, place in (adapters or {}).items():
        loaded.load(name, place)
    scheduler = Scheduler(model, tokenizer, died=died, threads=threads)
    vocabulary = Vocabulary(tokenizer, end_tokens(model, tokenizer))
    length = context_length(model, tokenizer)
    return ChatModel(tokenizer, scheduler, length, fingerprint(model), Template(tokenizer), vocabulary, loaded)
