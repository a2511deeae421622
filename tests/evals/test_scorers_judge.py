from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import scorers
from evals.samples import Sample, Score
from evals.scorers.judge import (
    ChatModel,
    judge,
    pair_hash,
    pairwise,
    panel,
    parse_grade,
    parse_winner,
    rubric_hash,
)
from tests.evals.asked import Refusal, said, server_that_answers
from workspace.errors import Invalid

SAMPLE = Sample(number=0, row="", inputs={"question": "Capital of France?"}, answer="Paris", expected="Paris")


@contextmanager
def model_that_says(body: object, *, status: int = 200, seen: list[bytes] | None = None) -> Iterator[ChatModel]:
    """A chat model whose answer is known beforehand, on a free port."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["content-length"]))
            if seen is not None:
                seen.append(request)
            self.send_response(status)
            self.send_header("x-studiolo-model", "model:tiny:3")
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield ChatModel(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="tiny", api_key="k", pause=0.01)
        finally:
            server.shutdown()


def reply(text: object) -> dict[str, object]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def graded(body: object, **options: int) -> Score:
    with model_that_says(body, **options) as chat:  # type: ignore[arg-type]
        return judge(chat, "Correct and short.")(SAMPLE)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("4", 4),
        (" 5.", 5),
        ("Score: 4/5", 4),
        ("I give it 2 out of 5", 2),
        ("Grade is: 3", 3),
        ("**1**", 1),
        ("It is a 3. Really, a 3.", 3),
        ("10", None),
        ("0", None),
        ("-3", None),
        ("4.5", None),
        ("Either 2 or 4", None),
        ("excellent", None),
        ("", None),
        ("Score: 7", None),
    ],
)
def test_only_one_clear_grade_is_read_from_a_reply(text: str, grade: int | None) -> None:
    assert parse_grade(text) == grade


def test_a_grade_becomes_a_value_from_0_to_1_and_names_judge_and_rubric() -> None:
    score = graded(reply("4"))
    assert score.value == 0.75
    assert score.details["model"] == "model:tiny:3"
    assert score.details["rubric"] == rubric_hash("Correct and short.")
    assert score.details["reply"] == "4"


@pytest.mark.parametrize(
    ("body", "status"),
    [(reply("well, hmm"), 200), (reply(None), 200), (b"<html>", 200), ({"choices": []}, 200), ({"error": "no"}, 503)],
)
def test_a_judge_that_gives_no_grade_is_an_error_of_that_row(body: object, status: int) -> None:
    score = graded(body, status=status)
    assert score.value is None
    assert score.error


def test_a_judge_that_cannot_be_reached_is_an_error_of_that_row() -> None:
    score = judge(ChatModel(base_url="http://127.0.0.1:9/v1", model="tiny", pause=0.01), "Correct.")(SAMPLE)
    assert score.value is None
    assert "cannot be reached" in str(score.error)


def test_the_judge_is_shown_rubric_question_expected_and_answer() -> None:
    seen: list[bytes] = []
    with model_that_says(reply("3"), seen=seen) as chat:
        judge(chat, "Be {strict}.")(SAMPLE)
    request = json.loads(seen[0])
    prompt = request["messages"][1]["content"]
    assert all(part in prompt for part in ("Be {strict}.", "Capital of France?", "Expected answer:\nParis"))
    assert request["temperature"] == 0


def test_the_key_never_shows_in_a_printed_model() -> None:
    assert "secret" not in repr(ChatModel(base_url="http://x", model="m", api_key="secret"))


def test_another_rubric_has_another_hash() -> None:
    assert rubric_hash("a") != rubric_hash("b")


def longer(request: dict[str, Any]) -> object:
    """Prefers the longer answer, whichever place it has."""
    prompt = request["messages"][1]["content"]
    first, second = prompt.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
    second = second.split("\n\nLength")[0]
    return said(json.dumps({"winner": "A" if len(first) > len(second) else "B" if first != second else "tie"}))


@pytest.mark.parametrize(("answer", "value"), [("Paris, France", 1.0), ("P", 0.0), ("Paris", 0.5)])
def test_pairs_are_asked_in_both_orders(answer: str, value: float) -> None:
    with server_that_answers(longer) as chat:
        score = pairwise(chat, "Better.")(replace(SAMPLE, answer=answer))
    assert score.value == value
    assert score.details["consistent"] is True
    assert score.details["rubric"] == pair_hash("Better.")


def test_a_judge_that_prefers_a_place_makes_ties() -> None:
    with server_that_answers(lambda _: said("A")) as chat:
        score = pairwise(chat, "Better.")(SAMPLE)
    assert (score.value, score.details["consistent"]) == (0.5, False)


@pytest.mark.parametrize("text", ["both", "A or B", "", '{"winner": "C"}', "A is better than B"])
def test_a_pair_without_a_clear_winner_is_an_error_and_no_tie(text: str) -> None:
    with server_that_answers(lambda _: said(text)) as chat:
        score = pairwise(chat, "Better.")(SAMPLE)
    assert score.value is None
    assert "no clear winner" in str(score.error)


def test_the_other_answer_may_stand_in_a_column() -> None:
    with server_that_answers(longer) as chat:
        score = pairwise(chat, "Better.", against="old")(replace(SAMPLE, metadata={"old": "a much longer answer"}))
        assert score.value == 0.0
        assert "no 'new'" in str(pairwise(chat, "Better.", against="new")(SAMPLE).error)


@given(st.text(max_size=80))
def test_any_reply_is_read_as_a_verdict_or_as_none(text: str) -> None:
    assert parse_grade(text) in {None, 1, 2, 3, 4, 5}
    assert parse_winner(text) in {None, "A", "B", "tie"}


def test_a_panel_gives_the_mean_or_the_majority_and_its_disagreement() -> None:
    grades = {"one": "5", "two": "4", "three": "1"}
    with server_that_answers(lambda request: said(grades[request["model"]])) as chat:
        chats = [replace(chat, model=name) for name in grades]
        mean, majority = panel(chats, "Correct.")(SAMPLE), panel(chats, "Correct.", by="majority")(SAMPLE)
    assert mean.value == pytest.approx(7 / 12)
    assert majority.value == 1.0
    assert mean.details["disagreement"] == 1.0
    assert mean.details["grades"] == {"one": 1.0, "two": 0.75, "three": 0.0}


def test_a_panel_of_which_half_is_silent_gives_no_grade() -> None:
    with server_that_answers(lambda request: said("5" if request["model"] == "one" else "hm")) as chat:
        score = panel([replace(chat, model=name) for name in ("one", "two")], "Correct.")(SAMPLE)
    assert score.value is None
    assert score.error == "only 1 of 2 judges gave a grade"


def test_a_busy_judge_is_asked_again_and_one_without_schemas_in_plain_words() -> None:
    asked: list[bool] = []

    def answer(request: dict[str, Any]) -> object:
        asked.append("response_format" in request)
        if len(asked) == 1:
            raise Refusal(429, retry_after="0")
        if asked[-1]:
            raise Refusal(400)
        return said("4")

    with server_that_answers(answer) as chat:
        assert judge(chat, "Correct.")(SAMPLE).value == 0.75
    assert asked == [True, True, False]


def test_judges_are_made_by_name_and_ask_for_their_model_when_the_first_sample_comes() -> None:
    wanted: list[str | None] = []
    with server_that_answers(lambda _: said("5")) as chat:

        def model(name: str | None) -> ChatModel:
            wanted.append(name)
            return chat

        score = scorers.get("judge", means=scorers.Means(model=model), rubric="Correct.", model="big")
        assert wanted == []
        assert (score(SAMPLE).value, score(SAMPLE).value) == (1.0, 1.0)
    assert wanted == ["big"]
    with pytest.raises(Invalid, match="needs a rubric"):
        scorers.get("judge", rubric=" ")
