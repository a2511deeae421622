"""Answers share one model: they queue, join, leave and fail each for itself. The model is tiny and means nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from serving.engines.requests import Sampling
from serving.engines.scheduler import MOST_WAITING, PART, Answer, Scheduler
from serving.openai_errors import Refusal
from tests.serving.tiny_model import WORDS, Letters, ask, greedy, said, tiny_llama

POISON = 7  # a token whose numbers are not finite


@pytest.fixture(scope="module")
def model() -> Any:
    made = tiny_llama()
    with torch.no_grad():
        made.model.embed_tokens.weight[POISON] = float("nan")
        made.lm_head.weight[POISON] = 0  # never chosen itself
    return made


@pytest.fixture
def scheduler(model: Any) -> Iterator[Scheduler]:
    made = Scheduler(model, Letters(), rows=4)
    yield made
    made.close()


def _unheard(limit: int = 8) -> Answer:
    return Answer(0, [1], limit, Sampling(temperature=0), lambda event: None)


def test_answers_that_overlap_say_what_each_says_alone(scheduler: Scheduler) -> None:
    prompts = [[1 + (row * 5 + place) % 6 for place in range(2 + row * 9)] for row in range(9)]
    alone = [said(ask(scheduler, prompt, 5 + row * 3)[1]()) for row, prompt in enumerate(prompts)]
    waits = [ask(scheduler, prompt, 5 + row * 3)[1] for row, prompt in enumerate(prompts)]
    assert [said(wait()) for wait in waits] == alone


def test_a_prompt_read_in_parts_gives_the_answer_of_the_whole(scheduler: Scheduler, model: Any) -> None:
    prompt = [1 + place % 6 for place in range(PART + 40)]
    assert said(ask(scheduler, prompt, 6)[1]()) == greedy(model, prompt, 6)


def test_numbers_that_are_not_finite_end_only_their_own_answer(scheduler: Scheduler) -> None:
    _, healthy = ask(scheduler, [1, 2, 3], 40)
    _, sick = ask(scheduler, [1, POISON, 3])
    assert [(event.reason, event.message) for event in sick()] == [
        ("error", "the model produced numbers that are not finite")
    ]
    assert healthy()[-1].reason == "length"
    assert scheduler.failure is None


def test_when_the_model_dies_everybody_is_told_and_nobody_else_is_taken(model: Any) -> None:
    died = threading.Event()
    scheduler = Scheduler(model, Letters(), died=died.set)
    _, running = ask(scheduler, [1, 2, 3], 10_000)
    _, deadly = ask(scheduler, [WORDS + 1])  # outside the vocabulary: a crash in the model
    assert deadly()[-1].reason == running()[-1].reason == "error"
    assert died.wait(10)
    with pytest.raises(Refusal) as caught:
        ask(scheduler, [1])
    assert caught.value.status == 503


def test_a_cancelled_answer_ends_and_makes_room(scheduler: Scheduler) -> None:
    answer, wait = ask(scheduler, [1, 2], 10_000)
    scheduler.cancel([answer])
    assert wait()[-1].reason == "cancelled"
    assert (scheduler.active, scheduler.waiting) == (0, 0)


def test_an_answer_cancelled_while_it_waits_never_starts(scheduler: Scheduler) -> None:
    busy = [ask(scheduler, [1, 2], 10_000) for _ in range(4)]
    late, wait = ask(scheduler, [3], 5)
    scheduler.cancel([late])
    assert [(event.reason, event.tokens) for event in wait()] == [("cancelled", 0)]
    scheduler.cancel([answer for answer, _ in busy])


def test_who_waits_starts_as_soon_as_a_row_is_free(scheduler: Scheduler) -> None:
    busy = [ask(scheduler, [1, 2], 10_000)[0] for _ in range(4)]
    _, wait = ask(scheduler, [3], 5)
    deadline = time.monotonic() + 10
    while (scheduler.active, scheduler.waiting) != (4, 1):
        assert time.monotonic() < deadline
    scheduler.cancel(busy[:1])
    assert wait()[-1].reason == "length"
    scheduler.cancel(busy)


def test_a_full_queue_refuses(scheduler: Scheduler) -> None:
    crowd = [_unheard(10_000) for _ in range(MOST_WAITING)]
    scheduler.submit(crowd)
    with pytest.raises(Refusal) as caught:
        scheduler.submit([_unheard() for _ in range(MOST_WAITING)])
    assert caught.value.status == 429
    scheduler.cancel(crowd)


def test_closing_tells_those_who_wait(model: Any) -> None:
    scheduler = Scheduler(model, Letters())
    _, wait = ask(scheduler, [1, 2], 10_000)
    scheduler.close()
    assert wait()[-1].message == "the engine is stopping"
