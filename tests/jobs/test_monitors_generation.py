"""Answers of language models in monitors: grades of a judge, and tokens."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.files.monitor import GenerationQuality, GenerationThresholds, TokenStatistics, TokenThresholds
from jobs.monitors import frames, generation
from jobs.monitors.measures import Found, Skip
from workspace.errors import Invalid

ROWS = "question,answer,documents\nwhat?,surely,it is so\nwho?,nobody,nobody\nwhy?,,none\n"


def judged(folder: Path, ask: generation.Ask, names: dict[str, str], **thresholds: dict[str, float]) -> Found:
    (folder / "rows.csv").write_text(ROWS)
    signal = GenerationQuality(type="generation_safety_quality", metric_thresholds=GenerationThresholds(**thresholds))
    with frames.open_database() as database:
        frame = frames.load(database, "t", folder / "rows.csv", span=None, source="rows")
        return generation.quality(database, frame, names, signal, ask)


def test_a_judge_is_shown_what_its_question_needs_and_nothing_else(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "4"

    found = judged(tmp_path, ask, {}, groundedness={"acceptable_groundedness_score_per_instance": 5})
    assert [each.value for each in found.measures] == [0.0, 4.0]
    assert found.measures[0].is_breached  # nothing reaches 5
    assert len(asked) == 2  # a question without an answer is not judged
    assert "Context:\nit is so\n\nAnswer:\nsurely" in "".join(asked)
    assert "what?" not in "".join(asked)


def test_replies_without_one_grade_are_left_out_and_told(tmp_path: Path) -> None:
    def ask(prompt: str) -> str:
        return "5" if "what?" in prompt else "3 or 4"

    found = judged(tmp_path, ask, {"prompt": "question"}, relevance={"aggregated_relevance_pass_rate": 0.5})
    assert found.measures[0].value == 1.0
    assert found.notes == ["relevance: 1 of 2 replies of the judge have no clear grade"]


class _Refusing(BaseHTTPRequestHandler):
    """A chat model that answers with the status that its path names."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_judge_that_is_busy_is_waited_for_and_one_that_knows_no_such_key_is_an_error() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        known = {"name": "j", "type": "open_ai", "api_key": "k"}
        at = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(Invalid, match="the judge of connection 'j' answered 401"):
            generation.judge({**known, "target": f"{at}/401"}, "m")("how?")
        with pytest.raises(Skip, match="answered 503"):
            generation.judge({**known, "target": f"{at}/503"}, "m")("how?")
        server.shutdown()


def test_a_sample_is_of_answers_and_not_of_rows_without_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "id,answer\n" + "".join(f"{n},{'' if n % 100 else 'yes'}\n" for n in range(2000))
    )
    thresholds = GenerationThresholds(fluency={"aggregated_fluency_pass_rate": 0.5})
    signal = GenerationQuality(type="generation_safety_quality", metric_thresholds=thresholds, sampling_rate=0.005)
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "5"

    with frames.open_database() as database:
        frame = frames.load(database, "t", tmp_path / "rows.csv", span=None, source="rows")
        generation.quality(database, frame, {}, signal, ask)
    assert len(asked) == 10


def test_what_cannot_be_judged_says_why(tmp_path: Path) -> None:
    with pytest.raises(Skip, match="similarity is not measured: no column for ground_truth"):
        judged(tmp_path, lambda _: "5", {}, similarity={"aggregated_similarity_pass_rate": 0.5})
    with pytest.raises(Invalid, match="rows has no column 'text'"):
        judged(tmp_path, lambda _: "5", {"completion": "text"}, fluency={"aggregated_fluency_pass_rate": 0.5})
    away = generation.judge({"name": "j", "type": "open_ai", "target": "http://127.0.0.1:9/v1", "api_key": "k"}, "m")
    with pytest.raises(Skip, match="the judge of connection 'j' cannot be reached"):
        judged(tmp_path, away, {}, fluency={"aggregated_fluency_pass_rate": 0.5})


@pytest.mark.parametrize(
    ("content", "rate", "total", "groups"),
    [
        ("total_tokens,group\n10,a\n5,b\n7,a\n", None, 22.0, {"a": 17.0, "b": 5.0}),
        ("total_tokens\n10\n5\n", 0.5, 30.0, {}),
    ],
)
def test_tokens_are_summed_and_a_sample_stands_for_all(
    tmp_path: Path, content: str, rate: float | None, total: float, groups: dict[str, float]
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    thresholds = TokenThresholds(totaltoken={"total_token_count": 25, "total_token_count_per_group": 10})
    signal = TokenStatistics(type="generation_token_statistics", metric_thresholds=thresholds, sampling_rate=rate)
    with frames.open_database() as database:
        frame = frames.load(database, "t", tmp_path / "rows.csv", span=None, source="rows")
        found = generation.tokens(database, frame, {}, signal)
    assert found.measures[0].value == total
    assert found.measures[0].is_breached is (total > 25)
    assert {each.feature: each.value for each in found.measures if each.feature} == groups
