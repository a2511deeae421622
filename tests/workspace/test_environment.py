"""What a run ran on is told truly."""

from __future__ import annotations

import subprocess
from pathlib import Path

from workspace import environment


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_named_and_a_changed_file_makes_it_dirty(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "a.txt").write_text("one")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "first")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "below").mkdir()
    assert environment.git(tmp_path / "below") == {"commit": commit, "branch": "trunk", "dirty": False}
    (tmp_path / "a.txt").write_text("two")
    assert environment.git(tmp_path) == {"commit": commit, "branch": "trunk", "dirty": True}


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "-b", "trunk")
    assert environment.git(tmp_path) == {"commit": None, "branch": "trunk", "dirty": False}


def test_outside_a_repository_there_is_no_git(tmp_path: Path) -> None:
    assert environment.git(tmp_path) is None


def test_packages_and_hardware_of_this_machine_are_named(tmp_path: Path) -> None:
    found = environment.describe(tmp_path)
    assert "sqlalchemy" in found["packages"]
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory"] > 100_000_000


def test_gpus_are_named_by_their_driver_without_a_question(tmp_path: Path) -> None:
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
        (tmp_path / "gpus" / bus / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   \t\t 17\n")
    assert [gpu["name"] for gpu in environment.gpus(tmp_path)] == ["NVIDIA H200", "NVIDIA H200"]
    assert environment.gpus(tmp_path / "none") == []
