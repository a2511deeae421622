"""The next token is chosen as the request asked, the same for the same seed."""

from __future__ import annotations

import torch

from serving.engines.requests import Sampling
from serving.engines.sampling import Chooser, Chosen, choose

LOGITS = torch.tensor([0.0, 2.0, 1.0, -5.0])


def _draws(sampling: Sampling, count: int = 200) -> list[int]:
    chooser = Chooser(sampling)
    return [chooser.choose(LOGITS) for _ in range(count)]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert choose(LOGITS[None], [Chooser(Sampling(temperature=0))]) == [Chosen(1)]


def test_the_same_seed_draws_the_same() -> None:
    assert _draws(Sampling(seed=3)) == _draws(Sampling(seed=3)) != _draws(Sampling(seed=4))


def test_without_a_seed_every_answer_differs() -> None:
    assert _draws(Sampling()) != _draws(Sampling())


def test_top_p_leaves_out_the_unlikely() -> None:
    assert set(_draws(Sampling(seed=1, top_p=0.8))) == {1, 2}  # 0.665 and 0.245


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    share = _draws(Sampling(seed=1), 4000).count(1) / 4000
    assert abs(share - float(torch.softmax(LOGITS, 0)[1])) < 0.03


def test_a_row_with_numbers_that_are_not_finite_gets_nothing() -> None:
    rows = torch.stack([LOGITS, torch.full((4,), float("nan")), LOGITS])
    rows[2, 0] = float("inf")
    assert choose(rows, [Chooser(Sampling(temperature=0))] * 3) == [Chosen(1), None, None]


def test_a_token_that_is_ruled_out_does_not_make_a_row_unsound() -> None:
    ruled_out = torch.tensor([[float("-inf"), 1.0]])
    assert choose(ruled_out, [Chooser(Sampling(temperature=0))]) == [Chosen(1)]
