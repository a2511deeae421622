"""What jobs ask of a machine, as files say it."""

from __future__ import annotations

import pytest

from jobs.needs import Capacity, Needs, needs_of, size
from workspace.errors import Invalid
from workspace.settings import Settings


@pytest.mark.parametrize(
    ("written", "found"), [("4g", 4 << 30), ("500m", 500 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30), (7, 7)]
)
def test_sizes_are_read_as_people_write_them(written: object, found: int) -> None:
    assert size(written) == found


@pytest.mark.parametrize(
    ("properties", "word"), [({"memory": "much"}, "much"), ({"cpus": "x"}, "cpus"), ({"gpus": -1}, "gpus")]
)
def test_what_is_no_amount_is_refused_by_its_name(properties: dict[str, object], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        needs_of(properties)


def test_without_a_word_a_job_takes_one_core() -> None:
    assert needs_of({"AISuperComputer": {"x": 1}}) == Needs(cpus=1.0, gpus=0, memory=0)


def test_settings_go_before_what_the_machine_has() -> None:
    capacity = Capacity.of(Settings(job_cpus=7, job_memory=100), visible="3,GPU-5")
    assert (capacity.cpus, capacity.memory, capacity.devices) == (7.0, 100 * 2**20, ("3", "GPU-5"))
    assert Capacity.of(Settings(), visible="").devices == ()
    assert Capacity.of(Settings()).cpus >= 1
    assert Capacity.of(Settings()).memory > 1 << 28
