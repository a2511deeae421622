"""Prompts that begin alike are read once: the same answers, fewer tokens read, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from serving.engines.prefixes import BLOCK, Prefixes
from serving.engines.requests import Sampling
from serving.engines.scheduler import Answer, Scheduler
from tests.serving.tiny_model import Letters, ask, greedy, said, tiny_llama

SHARED = [1 + place * 7 % 60 for place in range(3 * BLOCK + 5)]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama()


@pytest.fixture
def scheduler(model: Any) -> Iterator[Scheduler]:
    made = Scheduler(model, Letters(), rows=8)
    yield made
    made.close()


def test_a_prompt_that_begins_like_one_before_is_answered_the_same_and_read_from_where_it_differs(
    scheduler: Scheduler, model: Any
) -> None:
    first, other = [*SHARED, 9, 9, 9], [*SHARED, 4, 5]
    assert said(ask(scheduler, first)[1]()) == greedy(model, first, 8)
    answer, wait = ask(scheduler, other)
    assert said(wait()) == greedy(model, other, 8)
    assert answer.cached == 3 * BLOCK
    assert scheduler.tokens_read == len(first) + len(other) - 3 * BLOCK


def test_the_same_prompt_again_still_reads_its_last_token(scheduler: Scheduler, model: Any) -> None:
    prompt = SHARED[: 2 * BLOCK]
    answers = [ask(scheduler, prompt) for _ in range(2)]
    assert [said(wait()) for _, wait in answers] == [greedy(model, prompt, 8)] * 2
    assert [answer.cached for answer, _ in answers] == [0, BLOCK]


def test_prompts_that_come_together_wait_for_the_first_to_be_read(scheduler: Scheduler) -> None:
    waits = [ask(scheduler, [*SHARED, tail])[1] for tail in range(6)]
    assert len({said(wait()) for wait in waits}) > 1
    assert scheduler.tokens_read == len(SHARED) + 1 + 5 * (len(SHARED) + 1 - 3 * BLOCK)


def test_a_conversation_goes_on_from_what_was_answered(scheduler: Scheduler, model: Any) -> None:
    answer, wait = ask(scheduler, SHARED, 2 * BLOCK)
    wait()
    longer = [*SHARED, *answer.said, 3, 2, 1]
    follow, wait = ask(scheduler, longer)
    assert said(wait()) == greedy(model, longer, 8)
    assert follow.cached == (len(SHARED) + 2 * BLOCK - 1) // BLOCK * BLOCK


def test_a_prompt_whose_probabilities_are_asked_for_is_read_whole(scheduler: Scheduler) -> None:
    ask(scheduler, SHARED)[1]()
    told: list[Any] = []
    answer = Answer(0, SHARED, 0, Sampling(logprobs=0, score_prompt=True), told.append)
    scheduler.submit([answer])
    ask(scheduler, [1])[1]()
    assert answer.cached == 0
    assert len(told[-1].prompt) == len(SHARED)


def test_what_was_least_lately_used_is_given_up_first() -> None:
    block = torch.zeros(4, BLOCK)
    prefixes = Prefixes(most_bytes=3 * block.nbytes)
    one, two, three = ([number] * BLOCK for number in (1, 2, 3))
    for tokens in (one, two):
        prefixes.keep(None, [*tokens, *three], lambda start, stop: block[:, start:stop].clone() if not start else block)
    assert prefixes.bytes <= 3 * block.nbytes
    assert len(prefixes.find(None, [*two, *three, 0])) == 2
    assert len(prefixes.find(None, [*one, *three, 0])) == 1


def test_keys_and_values_of_one_owner_are_never_given_to_another() -> None:
    prefixes = Prefixes()
    tokens = list(range(BLOCK))
    prefixes.keep("adapter", tokens, lambda start, stop: torch.zeros(1, stop - start))
    assert prefixes.find(None, [*tokens, 1]) == []
    assert len(prefixes.find("adapter", [*tokens, 1])) == 1


def test_rows_that_do_not_fit_make_room_and_say_the_same_in_the_end(model: Any) -> None:
    scheduler = Scheduler(model, Letters(), rows=8, positions=600)
    try:
        prompts = [[1 + (row * 11 + place) % 60 for place in range(20 + row)] for row in range(3)]
        waits = [ask(scheduler, prompt, 230)[1] for prompt in prompts]  # 3 x 250 positions in the end
        assert [said(wait()) for wait in waits] == [greedy(model, prompt, 230) for prompt in prompts]
    finally:
        scheduler.close()
