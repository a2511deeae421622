"""Cassettes: recorded once, replayed without a model, and a miss that says what changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flows.cassette import Cassette, Missing
from workspace.errors import Invalid, NotFound


def _request(text: str) -> dict[str, Any]:
    return {"api": "chat", "model": "m", "messages": [{"role": "user", "content": text}]}


class Model:
    """Answers with the number of the call."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> dict[str, Any]:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0.01)
        return {"choices": [{"message": {"content": f"answer {number}"}}]}


def _exchange(tape: Cassette, model: Model, *texts: str) -> list[str]:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(tape.exchange(_request(text), model) for text in texts))

    return [answer["choices"][0]["message"]["content"] for answer in asyncio.run(all_of_them())]


def test_what_was_recorded_is_replayed_and_nobody_is_asked(tmp_path: Path) -> None:
    path, model = tmp_path / "tapes" / "c.jsonl", Model()
    recorded = _exchange(Cassette.open(path, "record"), model, "a", "b", "a")
    assert (model.calls, recorded[0]) == (2, recorded[2])
    silent = Model()
    assert _exchange(Cassette.open(path, "replay"), silent, "a", "b", "a") == recorded
    assert silent.calls == 0
    assert len(path.read_text().splitlines()) == 2


def test_recording_again_asks_only_for_what_is_new(tmp_path: Path) -> None:
    path, model = tmp_path / "c.jsonl", Model()
    _exchange(Cassette.open(path, "record"), model, "a")
    assert _exchange(Cassette.open(path, "record"), model, "a", "b") == ["answer 1", "answer 2"]


def test_an_answer_that_is_changed_changes_no_recording(tmp_path: Path) -> None:
    async def twice() -> Any:
        tape, model = Cassette.open(tmp_path / "c.jsonl", "record"), Model()
        (await tape.exchange(_request("a"), model))["choices"].clear()
        return await tape.exchange(_request("a"), model)

    assert asyncio.run(twice())["choices"]


def test_a_miss_shows_how_it_differs_from_the_nearest_recording(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    _exchange(Cassette.open(path, "record"), Model(), "Sum up.\nThe tide is high.", "Something else altogether, long.")
    with pytest.raises(Missing) as failure:
        _exchange(Cassette.open(path, "replay"), Model(), "Sum up.\nThe tide is low.")
    said = str(failure.value)
    assert "--record" in said
    assert any(line.startswith("-") and "tide is high" in line for line in said.splitlines())
    assert any(line.startswith("+") and "tide is low" in line for line in said.splitlines())
    assert "Something else" not in said


def test_nothing_recorded_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no cassette"):
        Cassette.open(tmp_path / "c.jsonl", "replay")
    (tmp_path / "c.jsonl").touch()
    with pytest.raises(Missing, match="it is empty"):
        _exchange(Cassette.open(tmp_path / "c.jsonl", "replay"), Model(), "a")


def test_a_line_torn_by_a_kill_is_dropped_and_recorded_again(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    _exchange(Cassette.open(path, "record"), Model(), "a")
    with path.open("a") as file:
        file.write('{"request": {"api": "ch')
    assert len(Cassette.open(path, "replay")) == 1
    assert _exchange(Cassette.open(path, "record"), Model(), "a", "b") == ["answer 1", "answer 1"]
    assert len(Cassette.open(path, "replay")) == 2


def test_an_answer_whose_line_an_editor_left_open_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    _exchange(Cassette.open(path, "record"), Model(), "a")
    path.write_text(path.read_text().rstrip("\n"))
    assert _exchange(Cassette.open(path, "record"), Model(), "a", "b") == ["answer 1", "answer 1"]
    assert len(Cassette.open(path, "replay")) == 2


@pytest.mark.parametrize("line", [json.dumps({"question": 1}), "broken{"])
def test_a_file_that_is_no_cassette_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "c.jsonl").write_text(f"{line}\n")
    with pytest.raises(Invalid, match=r"c\.jsonl:1"):
        Cassette.open(tmp_path / "c.jsonl", "replay")


def test_secrets_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    tape = Cassette.open(path, "record", hide=lambda text: text.replace("canary", "******"))
    first = _exchange(tape, Model(), "the canary sings")
    assert "canary" not in path.read_text()
    again = Cassette.open(path, "replay", hide=lambda text: text.replace("canary", "******"))
    assert _exchange(again, Model(), "the canary sings") == first
