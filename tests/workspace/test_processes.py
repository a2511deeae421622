"""A process is known by its number and its start."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from workspace.processes import Identity, identity_of, is_alive, own_identity


def test_this_process_is_alive() -> None:
    assert own_identity().pid == os.getpid()
    assert is_alive(own_identity())


def test_another_start_under_the_same_number_is_another_process() -> None:
    assert not is_alive(replace(own_identity(), started_at=own_identity().started_at - 1))


def test_a_process_that_ended_but_was_not_waited_for_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = identity_of(child.pid)
    assert who
    assert is_alive(who)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(who)
    child.communicate()
    assert not is_alive(who)


def test_nobody_has_a_number_below_one() -> None:
    assert identity_of(0) is None
    assert not is_alive(Identity(-1, 0.0))
