"""Rows that share a sequence fill it, and see nothing of each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.encode import Encoded
from finetune.data.packing import pack, padding, together
from tests.serving.tiny_model import WORDS, tiny_llama
from workspace.errors import Invalid


def rows(*lengths: int) -> list[Encoded]:
    chance = np.random.default_rng(0)
    made = []
    for number, length in enumerate(lengths, 1):
        loss = np.ones(length, np.bool_)
        loss[0] = False
        tokens = chance.integers(1, WORDS, length, dtype=np.int32)
        made.append(Encoded(row=number, tokens=tokens, loss=loss, was=length))
    return made


@given(st.lists(st.integers(1, 50), max_size=80))
def test_every_row_is_packed_once_and_no_sequence_is_too_long(lengths: list[int]) -> None:
    bins = pack(lengths, 50)
    assert sorted(row for each in bins for row in each) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in each) <= 50 for each in bins)
    halves = sum(sum(lengths[row] for row in each) <= 25 for each in bins)
    assert halves <= 1  # two of them would have been one


def test_a_row_longer_than_a_sequence_is_refused() -> None:
    with pytest.raises(Invalid, match="a row of 9 tokens does not fit into 8"):
        pack([3, 9], 8)


def test_what_lies_in_one_sequence_says_where_each_row_begins() -> None:
    packed = together(rows(3, 2))
    assert packed.position_ids.tolist() == [0, 1, 2, 0, 1]
    assert packed.bounds.tolist() == [0, 3, 5]
    assert (packed.labels[[0, 3]] == -100).all()
    assert packed.block_mask().astype(int).tolist() == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_packed_row_has_the_logits_it_has_alone(attention: str) -> None:
    model = tiny_llama()
    model.set_attn_implementation(attention)
    alone = rows(7, 12, 1, 5)
    packed = together(alone)
    ids, positions = (torch.from_numpy(each)[None] for each in (packed.input_ids, packed.position_ids))
    with torch.inference_mode():
        shared = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        mask = torch.from_numpy(packed.block_mask())[None, None]
        masked = model(input_ids=ids, position_ids=positions, attention_mask=_added(mask), use_cache=False).logits[0]
        for row, start in zip(alone, packed.bounds[:-1], strict=True):
            own = model(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0]
            torch.testing.assert_close(shared[start : start + len(row)], own, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(masked[start : start + len(row)], own, rtol=1e-4, atol=1e-4)
        crossing = model(input_ids=ids, use_cache=False).logits[0]
    assert not torch.allclose(crossing[7:19], shared[7:19], atol=1e-2)


def test_packing_leaves_little_padding() -> None:
    lengths = np.random.default_rng(1).integers(20, 300, 500).tolist()
    batches = [range(start, min(start + 4, 500)) for start in range(0, 500, 4)]
    assert padding(lengths, batches) > 0.25
    bins = pack(lengths, 1024)
    assert 1 - sum(lengths) / (1024 * len(bins)) < 0.01


def _added(mask: torch.Tensor) -> torch.Tensor:
    """As models take it: nothing added to what is seen, and so much taken from what is not."""
    return torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
