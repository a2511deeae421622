"""How likely tokens were is told beside the text they made, and never of text that is not shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from serving.engines.logprobs import LEAST, Shown, TextLogprobs, chat_logprobs
from serving.engines.requests import Sampling
from serving.engines.sampling import Chooser, Chosen, choose, score
from serving.engines.scheduler import Event
from serving.engines.vocabulary import Vocabulary
from tests.serving.letters import END, byte_tokenizer

VOCABULARY = Vocabulary(byte_tokenizer(), [END])
LOGITS = torch.tensor([[0.0, 2.0, 1.0, -5.0], [3.0, 0.0, 0.0, 0.0]])


def _chosen(text: bytes | Sequence[int]) -> tuple[Chosen, ...]:
    return tuple(Chosen(byte, -1.0) for byte in text)


def _told(shown: Shown, *events: Event) -> list[bytes]:
    return [bytes(one.token for one in shown.push(event) if one.token != END) for event in events]


def test_tokens_wait_until_their_text_is_shown() -> None:
    shown = Shown(VOCABULARY, stops=True, with_end=False)
    events = [Event(0, "a", chosen=_chosen(b"aE")), Event(0, "Ex", chosen=_chosen(b"x"))]
    assert _told(shown, *events) == [b"a", b"Ex"]


def test_what_a_stop_string_cut_off_is_not_told() -> None:
    shown = Shown(VOCABULARY, stops=True, with_end=True)
    assert _told(shown, Event(0, "ab", reason="stop", chosen=_chosen(b"abEND"))) == [b"ab"]


def test_half_a_character_at_the_limit_is_told_by_its_bytes() -> None:
    shown = Shown(VOCABULARY, stops=False, with_end=False)
    assert _told(shown, Event(0, "a", reason="length", chosen=_chosen(b"a\xf0\x9f"))) == [b"a\xf0\x9f"]


def test_the_token_that_ends_an_answer_is_told_to_completions_alone() -> None:
    event = Event(0, "a", reason="stop", chosen=_chosen([ord("a"), END]))
    assert len(Shown(VOCABULARY, stops=False, with_end=True).push(event)) == 2
    assert len(Shown(VOCABULARY, stops=False, with_end=False).push(event)) == 1


def test_a_chat_tells_tokens_with_bytes_and_alternatives() -> None:
    told = chat_logprobs(VOCABULARY, [Chosen(0xC3, -0.5, ((0xC3, -0.5), (ord("b"), float("-inf"))))])
    (entry,) = told["content"]
    assert (entry["token"], entry["bytes"], entry["logprob"]) == ("\ufffd", [0xC3], -0.5)
    assert entry["top_logprobs"][1] == {"token": "b", "logprob": LEAST, "bytes": [98]}


def test_offsets_of_a_completion_count_characters_and_go_on_after_the_prompt() -> None:
    told = TextLogprobs(VOCABULARY)
    prompt = told.prompt(list("né".encode()), [None, *_chosen("é".encode())], unseen=0)
    assert prompt["tokens"] == ["n", "bytes:\\xc3", "bytes:\\xa9"]
    assert prompt["text_offset"] == [0, 1, 1]
    assert prompt["token_logprobs"] == [None, -1.0, -1.0]
    assert told.answer(_chosen(b"!"))["text_offset"] == [2]


def test_a_token_put_before_the_prompt_takes_no_room() -> None:
    assert TextLogprobs(VOCABULARY).prompt([END, 97], [None, Chosen(97, -1)], unseen=1)["text_offset"] == [0, 0]


def test_the_token_that_came_is_among_the_likeliest_in_any_case() -> None:
    (top,) = TextLogprobs(VOCABULARY).answer([Chosen(97, -3.0, ((98, -0.1),))])["top_logprobs"]
    assert top == {"b": -0.1, "a": -3.0}


def test_probabilities_are_those_of_the_softmax() -> None:
    first, second = score(LOGITS, [1, 2], top=2)
    expected = torch.log_softmax(LOGITS, dim=-1)
    assert first.logprob == expected[0, 1].item()
    assert second.logprob == expected[1, 2].item()
    assert [token for token, _ in first.top] == [1, 2]


def test_a_chosen_token_tells_how_likely_the_model_itself_held_it() -> None:
    biased = Chooser(Sampling(temperature=0, logprobs=1, logit_bias=((3, 100.0),)))
    (chosen,) = choose(LOGITS[:1], [biased])
    assert chosen is not None
    assert (chosen.token, chosen.top[0][0]) == (3, 1)
    assert chosen.logprob == torch.log_softmax(LOGITS[0], dim=-1)[3].item()


def test_rows_that_are_scored_together_are_told_what_each_asked_for() -> None:
    ways = [Chooser(Sampling(temperature=0, logprobs=top)) for top in (None, 0, 1, 3)]
    chosen = choose(LOGITS[:1].repeat(4, 1), ways)
    assert [len(one.top) for one in chosen if one] == [0, 0, 1, 3]
    assert [one.logprob is None for one in chosen if one] == [True, False, False, False]
