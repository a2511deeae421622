"""A tiny Llama that means nothing, a tokenizer of one character a token, and answers asked of a scheduler."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from serving.engines.adapters import Adapter
from serving.engines.requests import Sampling
from serving.engines.scheduler import Answer, Event, Scheduler

WORDS = 64
LAYERS = 2


class Letters:
    """A tokenizer as far as the scheduler needs one: each token is one character."""

    eos_token_id = None

    def decode(self, tokens: Sequence[int], **_: bool) -> str:
        return "".join(chr(0x4E00 + token) for token in tokens)


def tiny_llama() -> Any:
    """Return a model whose likeliest tokens differ from prompt to prompt."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=None,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def greedy(model: Any, prompt: Sequence[int], count: int) -> str:
    """Return what a transformers model says, one token after another, without any cache."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    return Letters().decode(tokens[len(prompt) :])


def ask(
    scheduler: Scheduler, prompt: Sequence[int], limit: int = 8, adapter: Adapter | None = None
) -> tuple[Answer, Callable[[], list[Event]]]:
    """Ask for the likeliest tokens; the second value waits for the answer's events."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    answer = Answer(0, prompt, limit, Sampling(temperature=0), events.put, adapter=adapter)
    scheduler.submit([answer])

    def wait() -> list[Event]:
        got = [events.get(timeout=60)]
        while not got[-1].is_last:
            got.append(events.get(timeout=60))
        return got

    return answer, wait


def said(events: Sequence[Event]) -> str:
    """Return the text of an answer."""
    return "".join(event.text for event in events)
