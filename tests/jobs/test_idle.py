"""A shim that waits is woken once, and one that is gone is nobody's to wake."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobs import idle
from jobs.linux import die_with
from tests.jobs.conftest import until
from workspace.processes import Identity, identity_of


def waiting(home: Path, seconds: float = 30.0) -> int:
    """Return a process that waits, and ends with 3 when it was called."""
    own = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            die_with(own)
            called = idle.wait(home, seconds)
            os._exit(3 if called else 4)
        finally:
            os._exit(1)
    return child


def code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_each_call_wakes_one_of_those_who_wait(tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "idle"
    children = [waiting(tmp_path) for _ in range(2)]
    until(lambda: folder.exists() and len(list(folder.iterdir())) == 2)
    assert [idle.wake(tmp_path) for _ in range(3)] == [True, True, False]
    assert [code(child) for child in children] == [3, 3]


def test_who_waits_in_vain_takes_its_card_away(tmp_path: Path) -> None:
    assert code(waiting(tmp_path, 0.1)) == 4
    assert not idle.wake(tmp_path)


def test_a_card_of_the_dead_wakes_nobody(tmp_path: Path) -> None:
    child = waiting(tmp_path)
    folder = tmp_path / "jobs" / "idle"
    until(lambda: folder.exists() and list(folder.iterdir()))
    os.kill(child, 9)
    code(child)
    assert not idle.wake(tmp_path)
    assert list(folder.iterdir()) == []


def test_a_number_that_is_somebody_elses_now_is_not_called() -> None:
    """The signal would end this process, which does not listen to it."""
    own = identity_of(os.getpid())
    assert own
    assert not idle.knock(Identity(own.pid, own.started_at + 1))


def test_a_card_that_was_taken_when_the_time_was_over_is_a_call(tmp_path: Path) -> None:
    child = waiting(tmp_path, 0.5)
    folder = tmp_path / "jobs" / "idle"
    until(lambda: folder.exists() and list(folder.iterdir()))
    next(folder.iterdir()).unlink()  # taken, and the signal is on its way
    began = time.monotonic()
    assert code(child) == 3
    assert time.monotonic() - began < 2
