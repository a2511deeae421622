"""What belongs together stays on one side, what says the same is found, and figures and pages say what is there."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.chat_templates import Message
from finetune.data.duplicates import duplicates
from finetune.data.encode import Batch, Encoding, encode
from finetune.data.preview import page, sentences, shown
from finetune.data.read import Found
from finetune.data.rows import Conversation, Row
from finetune.data.split import Splitting, split
from finetune.data.statistics import Statistics, statistics
from tests.finetune.tiny_models import TEMPLATE as CHATML
from tests.serving.letters import byte_tokenizer
from workspace.errors import Invalid

WORDS = [f"{one}{two}{three}" for one in "bdfgklmnprst" for two in "aeiou" for three in "nrstlm"]


def row(number: int, question: str, answer: str = "Yes.") -> Conversation:
    return Conversation(number=number, messages=(Message("user", question), Message("assistant", answer)))


def found(number: int, **columns: Any) -> Found:
    return Found(row(number, f"Question {columns.get('question', number)}"), columns)


def numbers(rows: list[Found]) -> set[int]:
    return {each.row.number for each in rows}


@given(st.lists(st.integers(0, 30), min_size=2, max_size=80), st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_group_is_on_both_sides_and_none_is_empty(groups: list[int], share: float, seed: int) -> None:
    rows = [found(number, customer=group) for number, group in enumerate(groups, 1)]
    how = Splitting(validation=share, by="customer", seed=seed)
    if len(set(groups)) < 2:
        with pytest.raises(Invalid, match="one value of 'customer'"):
            split(rows, how)
        return
    train, kept = split(rows, how)
    assert numbers(train) | numbers(kept) == set(range(1, len(rows) + 1))
    assert not {each.raw["customer"] for each in train} & {each.raw["customer"] for each in kept}
    assert train
    assert kept


def test_rows_that_come_later_move_none_that_were_there() -> None:
    rows = [found(number) for number in range(1, 401)]
    before, after = split(rows[:300], Splitting(validation=0.2)), split(rows, Splitting(validation=0.2))
    assert numbers(before[1]) <= numbers(after[1])
    assert 50 < len(after[1]) < 110


def test_one_question_with_several_answers_is_on_one_side() -> None:
    rows = [found(number, question=f"{number // 2}  X") for number in range(2, 202)]
    train, kept = split(rows, Splitting(validation=0.3))
    assert all((each.row.number ^ 1) in numbers(side) for side in (train, kept) for each in side)


def test_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(Invalid, match="row 1 has no column 'custmer'") as caught:
        split([found(1, customer=1), found(2, customer=2)], Splitting(by="custmer"))
    assert caught.value.hint == "did you mean 'customer'?"


def test_every_planted_duplicate_is_found_and_nothing_else() -> None:
    chance = random.Random(1)  # noqa: S311 - rows of a test
    texts = [" ".join(chance.choices(WORDS, k=60)) for _ in range(1000)]
    rows: list[Row] = [row(number, text) for number, text in enumerate(texts, 1)]
    planted = {}
    for place in range(0, 300, 3):
        words = texts[place].split()
        words[30] = "another"
        for kind, text in (
            ("exact", texts[place]), ("normalized", texts[place].upper() + "!"), ("near", " ".join(words)),
        ):  # fmt: skip
            rows.append(row(len(rows) + 1, text))
            planted[len(rows)] = (place + 1, kind)
    assert {each.row: (each.of, each.kind) for each in duplicates(rows)} == planted


def test_another_answer_or_another_sum_is_no_duplicate() -> None:
    rows = [
        row(1, "Is it so, then?", "Yes."),
        row(2, "Is it so, then?", "No."),
        row(3, "1+2?", "a"),
        row(4, "1-2?", "a"),
    ]
    assert duplicates(rows) == []


def seen(*rows: Row, **how: Any) -> tuple[Statistics, Batch, Any]:
    tokenizer = byte_tokenizer(CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    encoding = Encoding(**how)
    batch = encode(rows, tokenizer, encoding)
    return statistics("chat", len(rows), batch, encoding.max_length, duplicates(rows)), batch, tokenizer


def test_figures_count_what_is_there() -> None:
    told, batch, _ = seen(row(1, "a" * 30), row(2, "b" * 30), row(3, "b" * 30), row(4, "c" * 200), max_length=100)
    assert (told.rows, told.texts, told.over_limit) == (4, 3, 1)
    assert told.learnt == 3 * len("Yes.x")
    assert told.tokens == sum(map(len, batch.texts))
    assert told.percentiles["most"] > 200
    assert sum(count for _, count in told.histogram) == 4
    assert told.duplicates == {"exact": 1, "normalized": 0, "near": 0}
    assert "row 4 was left out: what is to be learnt lies beyond 100 tokens" in sentences(told)


def test_a_page_marks_what_is_learnt_and_runs_nothing() -> None:
    attack = "</pre></mark><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
    told, batch, tokenizer = seen(row(1, attack, attack))
    html = page(attack, told, shown(batch, tokenizer, 1))
    assert "<script" not in html
    assert "<img" not in html
    assert "49" not in html.split("<h2>")[-1]
    assert '<mark class="">&lt;/pre&gt;' in html
    assert "default-src 'none'" in html
