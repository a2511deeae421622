"""The next token is chosen as the request asked, the same for the same seed."""

from __future__ import annotations

import torch

from serving.engines.drawing import Draw, draw
from serving.engines.requests import Sampling
from serving.engines.sampling import Chooser, Chosen, choose

LOGITS = torch.tensor([0.0, 2.0, 1.0, -5.0])


def _draws(sampling: Sampling, count: int = 200) -> list[int]:
    chooser = Chooser(sampling)
    return [draw(LOGITS[None], [chooser.draw()])[0] for _ in range(count)]


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


def test_a_bias_makes_a_token_certain_or_impossible() -> None:
    wanted = Chooser(Sampling(temperature=0, logit_bias=((3, 100.0),)))
    banned = Chooser(Sampling(seed=1, logit_bias=((1, -100.0),)))
    assert choose(LOGITS[None], [wanted]) == [Chosen(3)]
    assert all(choose(LOGITS[None], [banned]) != [Chosen(1)] for _ in range(50))


def test_penalties_turn_away_from_what_was_said_once_or_often() -> None:
    present = Chooser(Sampling(temperature=0, presence_penalty=1.5))
    often = Chooser(Sampling(temperature=0, frequency_penalty=0.6))
    assert [choose(LOGITS[None], [present])[0] for _ in range(3)] == [Chosen(1), Chosen(2), Chosen(1)]
    assert [choose(LOGITS[None], [often])[0] for _ in range(4)] == [Chosen(1), Chosen(1), Chosen(2), Chosen(1)]


def test_a_row_that_is_adjusted_leaves_the_logits_and_its_neighbours_alone() -> None:
    rows = torch.stack([LOGITS, LOGITS])
    wanted = Chooser(Sampling(temperature=0, logit_bias=((3, 100.0),)))
    assert choose(rows, [wanted, Chooser(Sampling(temperature=0))]) == [Chosen(3), Chosen(1)]
    assert torch.equal(rows, torch.stack([LOGITS, LOGITS]))


def test_rows_drawn_together_draw_what_each_draws_alone() -> None:
    rows = torch.randn(5, 2000, generator=torch.Generator().manual_seed(0)) * 4
    ways = [Draw(0.7, 1.0, 0.2), Draw(1.3, 0.9, 0.999), Draw(2.0, 0.5, 0.5), Draw(0.2, 1.0, 0.0), Draw(1.0, 0.9, 0.4)]
    alone = [draw(row[None], [way])[0] for row, way in zip(rows, ways, strict=True)]
    assert draw(rows, ways) == alone


def test_the_highest_number_draws_no_token_without_weight() -> None:
    rows = torch.tensor([[0.0, 1.0, float("-inf")]])
    assert draw(rows, [Draw(1.0, 1.0, 1.0)]) == [1]


def test_top_p_of_a_flat_row_takes_as_many_tokens_as_it_needs() -> None:
    assert draw(torch.zeros(1, 4000), [Draw(1.0, 0.9, 0.9999)])[0] >= 0
