"""Tokens become text without broken characters and without any part of a stop string."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.engines.text import AnswerText


def _bytes(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode("utf-8", errors="replace")


def _pieces(content: str | bytes, *stop: str) -> list[str]:
    raw = content.encode() if isinstance(content, str) else content
    text = AnswerText(_bytes, stop)
    pieces = []
    for token in raw:
        pieces.append(text.push(token))
        if text.stopped:
            break
    return [piece for piece in [*pieces, text.finish()] if piece]


def _prefixes(word: str) -> Iterable[str]:
    return (word[:size] for size in range(1, len(word) + 1))


def test_a_character_of_several_tokens_appears_whole() -> None:
    assert _pieces("né 🙂 日") == ["n", "é", " ", "🙂", " ", "日"]


def test_half_a_character_at_the_end_is_left_out() -> None:
    assert _pieces("a🙂".encode()[:-1]) == ["a"]


def test_bytes_that_are_no_character_do_not_hold_up_the_rest() -> None:
    assert "".join(_pieces(b"a" + b"\xff" * 20 + b"b")).strip("\ufffd") == "a" + "\ufffd" * 20 + "b"


def test_a_stop_string_that_spans_tokens_is_never_shown() -> None:
    assert _pieces("one END two", "END") == ["o", "n", "e", " "]


def test_no_part_of_a_stop_string_is_shown_before_it_is_decided() -> None:
    text = AnswerText(_bytes, ("</answer>",))
    assert [text.push(token) for token in b"</answer"] == [""] * 8
    assert text.push(ord(">")) == ""
    assert text.stopped
    assert text.finish() == ""


def test_what_only_looked_like_a_stop_string_is_shown_at_the_end() -> None:
    assert "".join(_pieces("a </ans", "</answer>")) == "a </ans"


def test_what_only_looked_like_a_stop_string_is_shown_as_soon_as_it_differs() -> None:
    assert _pieces("aab", "aac")[0] == "aab"


def test_the_earliest_of_several_stop_strings_wins() -> None:
    assert "".join(_pieces("x\ny###z", "###", "\n")) == "x"


def test_overlapping_beginnings_of_a_stop_string_are_found() -> None:
    assert "".join(_pieces("aaab!", "aab")) == "a"


def test_every_prefix_of_a_stop_string_that_ends_the_answer_is_shown() -> None:
    for prefix in list(_prefixes("STOP"))[:-1]:
        assert "".join(_pieces(f"go {prefix}", "STOP")) == f"go {prefix}"
