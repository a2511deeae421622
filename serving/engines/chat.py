"""A chat model behind a scheduler: conversations to tokens, submitted, and their events back on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from serving.engines.requests import Chat, Completion, Options, wrong
from serving.engines.scheduler import Answer, Event, Scheduler
from serving.engines.weights import context_length, device, dtype_of, fingerprint, laid_out, loading


@dataclass(frozen=True)
class ChatModel:
    """A loaded model that continues conversations and texts."""

    tokenizer: Any
    scheduler: Scheduler
    context_length: int
    fingerprint: str

    def prompts(self, ask: Chat | Completion) -> list[list[int]]:
        """Return the prompts of a request as token numbers."""
        if isinstance(ask, Completion):
            return [self._tokens(prompt) for prompt in ask.prompts]
        if not self.tokenizer.chat_template:
            raise wrong("this model has no chat template; use /v1/completions", param="messages")
        messages = [{"role": role, "content": text} for role, text in ask.messages]
        try:
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise wrong(f"the model's chat template refuses this: {error}", param="messages") from error
        return [self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def answers(self, prompts: Sequence[Sequence[int]], options: Options) -> Answers:
        """Start answering every prompt `options.n` times."""
        param = "max_tokens" if options.sampling.max_tokens else None
        limits = [self._room(len(prompt), options.sampling.max_tokens, param) for prompt in prompts]
        return Answers(self.scheduler, prompts, limits, options)

    def _tokens(self, prompt: str | tuple[int, ...]) -> list[int]:
        if isinstance(prompt, str):
            tokens: list[int] = self.tokenizer(prompt)["input_ids"]
            return tokens or [self.tokenizer.bos_token_id or 0]
        if max(prompt) >= len(self.tokenizer):
            raise wrong(f"token {max(prompt)} is not in the vocabulary of {len(self.tokenizer)}", param="prompt")
        return list(prompt)

    def _room(self, prompt: int, asked: int | None, param: str | None) -> int:
        wanted = prompt + (asked or 1)
        if wanted > self.context_length:
            raise wrong(
                f"this model's context is {self.context_length} tokens, and {wanted} were asked for "
                f"({prompt} in the prompt, {asked or 1} in the answer)",
                param=param or "messages",
                code="context_length_exceeded",
            )
        return asked or self.context_length - prompt


class Answers:
    """The answers to one request: iterate over their events, then `close`, which cancels what still runs."""

    def __init__(
        self, scheduler: Scheduler, prompts: Sequence[Sequence[int]], limits: Sequence[int], options: Options
    ) -> None:
        self._scheduler = scheduler
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def deliver(event: Event) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, event)

        self.prompt_tokens = sum(len(prompt) for prompt in prompts)
        self.tokens = 0
        self._answers = [
            Answer(index * options.n + choice, prompt, limit, options.sampling, deliver)
            for index, (prompt, limit) in enumerate(zip(prompts, limits, strict=True))
            for choice in range(options.n)
        ]
        scheduler.submit(self._answers)

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


def load_chat(folder: Path, *, dtype: str, died: Callable[[], None]) -> ChatModel:
    """Load a causal language model and start its decode thread; `died` is called if the model fails for good."""
    with loading(folder):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype_of(dtype), local_files_only=True)
    model = laid_out(model.to(device()).eval())
    scheduler = Scheduler(model, tokenizer, died=died)
    return ChatModel(tokenizer, scheduler, context_length(model, tokenizer), fingerprint(model))
