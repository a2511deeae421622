"""The threads that compute follow the cores that are free."""

from __future__ import annotations

from serving.engines.threads import Clocks, Threads, clocks


class Machine:
    """Two cores whose use the test tells."""

    def __init__(self) -> None:
        self.now = Clocks(0.0, 0.0, 0.0)
        self.threads = Threads(2, lambda: self.now)

    def second(self, *, ours: float, idle: float, seconds: float = 1.0) -> int | None:
        self.now = Clocks(self.now.wall + seconds, self.now.ours + ours * seconds, self.now.idle + idle * seconds)
        return self.threads.look(self.now.wall)


def test_an_engine_begins_with_half_the_cores() -> None:
    assert Machine().threads.count == 1


def test_a_core_that_lies_idle_is_taken_and_kept() -> None:
    machine = Machine()
    assert machine.second(ours=1.0, idle=0.95) == 2
    assert machine.second(ours=1.9, idle=0.05) is None
    assert machine.threads.count == 2


def test_a_core_that_a_neighbour_needs_is_given_back_and_taken_again() -> None:
    machine = Machine()
    machine.second(ours=1.0, idle=0.95)
    assert machine.second(ours=1.2, idle=0.1) == 1
    assert machine.second(ours=1.0, idle=0.0) is None
    assert machine.second(ours=1.0, idle=0.9) == 2


def test_after_a_time_in_which_nothing_was_asked_it_begins_with_what_neighbours_left_then() -> None:
    machine = Machine()
    assert machine.second(ours=0.0, idle=1.9, seconds=60) == 2
    assert machine.second(ours=0.0, idle=1.2, seconds=60) == 1
    assert machine.second(ours=0.0, idle=0.1, seconds=60) is None


def test_looking_more_often_than_once_a_second_costs_nothing() -> None:
    machine = Machine()
    assert machine.second(ours=1.0, idle=1.0, seconds=0.2) is None


def test_a_number_that_somebody_has_said_stays() -> None:
    threads = Threads(2, lambda: Clocks(0.0, 0.0, 0.0), fixed=1)
    assert threads.look(100.0) is None
    assert threads.count == 1


def test_this_machine_has_clocks() -> None:
    assert clocks() is not None
