from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from evals.samples import Sample, Score
from evals.scorers.judge import ChatModel, judge, parse_grade, rubric_hash

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
            yield ChatModel(base_url=f"http://127.0.0.1:{server.server_port}/v1", model="tiny", api_key="k")
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
    score = judge(ChatModel(base_url="http://127.0.0.1:9/v1", model="tiny"), "Correct.")(SAMPLE)
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
