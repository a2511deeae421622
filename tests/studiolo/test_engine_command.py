"""`studiolo engine` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from threading import Timer

import pytest

from serving import engine_logs
from workspace.errors import NotFound


def studiolo(*arguments: str) -> str:
    command = [sys.executable, "-m", "studiolo", "engine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_engines_are_listed_with_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {each["name"]: each["installed"] for each in json.loads(studiolo("list", "--json"))}
    assert found["torch"] is True
    assert found["vllm"] is False


def test_the_last_lines_of_an_engine_are_shown_and_what_it_says_next(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "engine-m-1.log"
    log.parent.mkdir()
    log.write_text("one\ntwo\nthree\n")
    assert list(engine_logs.read(tmp_path, "m-1", lines=2)) == ["two", "three"]

    def more() -> None:
        with log.open("a") as file:
            file.write("four\nfi")

    Timer(0.3, more).start()
    assert list(islice(engine_logs.read(tmp_path, "m-1", lines=1, follow=True), 2)) == ["three", "four"]


def test_the_log_of_an_engine_that_never_ran_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "engine-m-1.log").touch()
    with pytest.raises(NotFound) as caught:
        list(engine_logs.read(tmp_path, "m-2"))
    assert caught.value.hint == "did you mean 'm-1'?"
