"""Who goes next, who gets which GPU, and that of many who reach for a job one gets it: on SQLite and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import states
from jobs.needs import Capacity, Needs
from jobs.records import attempts, get
from jobs.spec import Spec
from jobs.states import Ending
from workspace.errors import Conflict
from workspace.home import Workspace
from workspace.light_database import to_json

PLACE = "here"
HERE = Capacity(2.0, 8 << 30, ("0", "1"))


def queue(workspace: Workspace, name: str, *, priority: int = 0, retries: int = 0, needs: Needs | None = None) -> None:
    needs, spec = needs or Needs(), Spec(command="true", run_id=uuid.uuid4().hex)
    row = {
        "name": name, "kind": "command", "status": "Queued", "spec": to_json(spec.plain()), "run_id": spec.run_id,
        "submitted_at": time.time(), "place": PLACE, "priority": priority, "retries": retries,
        "cpus": needs.cpus, "gpus": needs.gpus, "memory": needs.memory,
    }  # fmt: skip
    states.add(workspace.light, row)


def claimed(workspace: Workspace, capacity: Capacity = HERE) -> list[str]:
    """Claim until nothing is left to be had."""
    found = []
    while each := states.claim(workspace.light, PLACE, capacity):
        found.append(each.name)
    return found


def test_jobs_go_by_priority_then_by_age_as_far_as_there_is_room(any_workspace: Workspace) -> None:
    for name, priority in (("low", 1), ("first", 0), ("second", 0), ("high", -1)):
        queue(any_workspace, name, priority=priority)
    assert claimed(any_workspace) == ["high", "first"]
    states.close(any_workspace.light, "high", 1, Ending(status="Completed", code=0))
    assert claimed(any_workspace) == ["second"]
    assert not states.is_room(any_workspace.light, PLACE, HERE)
    for name in ("first", "second"):
        states.close(any_workspace.light, name, 1, Ending(status="Completed", code=0))
    assert states.is_room(any_workspace.light, PLACE, HERE)
    assert claimed(any_workspace) == ["low"]


def test_a_large_job_is_not_overtaken_by_those_who_would_take_what_it_waits_for(workspace: Workspace) -> None:
    queue(workspace, "one")
    assert claimed(workspace) == ["one"]
    queue(workspace, "both", needs=Needs(cpus=2))
    queue(workspace, "small", needs=Needs(cpus=1))
    assert claimed(workspace) == []


def test_who_takes_nothing_that_is_waited_for_may_go_first(workspace: Workspace) -> None:
    queue(workspace, "train", needs=Needs(cpus=0.5, gpus=2))
    queue(workspace, "more", needs=Needs(cpus=0.5, gpus=1))
    queue(workspace, "copy", needs=Needs(cpus=0.5))
    queue(workspace, "guide", needs=Needs(cpus=0))
    assert claimed(workspace) == ["train", "copy", "guide"]


@pytest.mark.parametrize(
    ("needs", "together"),
    [(Needs(cpus=1), 2), (Needs(cpus=0.5), 4), (Needs(cpus=0, memory=5 << 30), 1), (Needs(cpus=0, gpus=1), 2)],
)
def test_cores_memory_and_gpus_are_all_counted(workspace: Workspace, needs: Needs, together: int) -> None:
    for number in range(6):
        queue(workspace, f"job{number}", needs=needs)
    assert len(claimed(workspace)) == together


def test_each_gpu_is_one_jobs_alone_and_the_others_see_what_is_left(any_workspace: Workspace) -> None:
    queue(any_workspace, "a", needs=Needs(cpus=0, gpus=1))
    queue(any_workspace, "b", needs=Needs(cpus=0))
    queue(any_workspace, "c", needs=Needs(cpus=0, gpus=1))
    found = [states.claim(any_workspace.light, PLACE, HERE) for _ in range(3)]
    assert [(each.name, each.devices, each.visible) for each in found if each] == [
        ("a", ("0",), ("0",)), ("b", (), ("1",)), ("c", ("1",), ("1",)),
    ]  # fmt: skip
    assert attempts(any_workspace, "c")[0].devices == ("1",)


def test_a_job_is_run_where_its_files_are(workspace: Workspace) -> None:
    queue(workspace, "mine")
    assert states.claim(workspace.light, "elsewhere", HERE) is None
    assert claimed(workspace) == ["mine"]


def test_a_job_ends_once_whoever_ends_it(any_workspace: Workspace) -> None:
    queue(any_workspace, "once")
    claimed(any_workspace)
    assert states.close(any_workspace.light, "once", 1, Ending(status="Completed", code=0)) == "Completed"
    assert states.close(any_workspace.light, "once", 1, Ending(status="Failed", code=1)) is None
    assert states.ask_to_cancel(any_workspace.light, "once") == "Completed"
    job = get(any_workspace, "once")
    assert (job.status, job.exit_code) == ("Completed", 0)
    run = any_workspace.runs.get(str(job.run_id))
    assert (run.status, run.tags["exit_code"]) == ("FINISHED", "0")


def test_an_attempt_that_is_over_cannot_end_the_next_one(workspace: Workspace) -> None:
    queue(workspace, "again", retries=1)
    claimed(workspace)
    assert states.close(workspace.light, "again", 1, Ending(status="Lost")) == "Queued"
    claimed(workspace)
    assert states.close(workspace.light, "again", 1, Ending(status="Completed", code=0)) is None
    assert not states.move(workspace.light, "again", 1, old=("Starting",), new="Running")
    assert states.close(workspace.light, "again", 2, Ending(status="Lost", error="lost")) == "Failed"
    assert [each.status for each in attempts(workspace, "again")] == ["Lost", "Lost"]


def test_what_died_before_it_began_is_begun_again_without_being_counted_but_not_for_ever(workspace: Workspace) -> None:
    queue(workspace, "poison")
    ends = []
    while "Failed" not in ends:
        claimed(workspace)
        number = get_attempt(workspace, "poison")
        ends.append(states.close(workspace.light, "poison", number, Ending(status="Lost", again=False)))
    assert ends == ["Queued"] * (states.UNBEGUN - 1) + ["Failed"]


def get_attempt(workspace: Workspace, name: str) -> int:
    return int(workspace.light.rows("SELECT attempt FROM jobs WHERE name = :name", name=name)[0]["attempt"])


def test_a_cancelled_job_is_not_begun_again(workspace: Workspace) -> None:
    queue(workspace, "off", retries=5)
    claimed(workspace)
    assert states.ask_to_cancel(workspace.light, "off") == "CancelRequested"
    assert states.close(workspace.light, "off", 1, Ending(status="Lost")) == "Canceled"


def test_a_job_that_waits_for_another_attempt_is_cancelled_with_its_run(any_workspace: Workspace) -> None:
    queue(any_workspace, "off", retries=5)
    claimed(any_workspace)
    states.close(any_workspace.light, "off", 1, Ending(status="Failed", code=1))
    assert states.ask_to_cancel(any_workspace.light, "off") == "Canceled"
    run_id = any_workspace.light.rows("SELECT run_id FROM jobs")[0]["run_id"]
    assert any_workspace.runs.get(run_id).status == "KILLED"


def test_a_name_is_taken_once(any_workspace: Workspace) -> None:
    queue(any_workspace, "a")
    with pytest.raises(Conflict, match="there is a job 'a' already"):
        queue(any_workspace, "a")


def test_a_run_that_has_the_name_already_is_no_hindrance(workspace: Workspace) -> None:
    with workspace.run("flow", name="job-a"):
        pass
    queue(workspace, "a")
    assert claimed(workspace) == ["a"]


def test_a_record_that_nobody_can_read_fails_and_stands_in_nobodys_way(any_workspace: Workspace) -> None:
    queue(any_workspace, "broken", priority=-1)
    queue(any_workspace, "whole")
    with any_workspace.light.write() as statements:
        statements.change("UPDATE jobs SET spec = :spec WHERE name = 'broken'", spec=to_json({"inputs": {"a": {}}}))
    assert claimed(any_workspace) == ["whole"]
    job = get(any_workspace, "broken")
    assert (job.status, "cannot be read" in str(job.error)) == ("Failed", True)


_CLAIMING = """
import sys
from pathlib import Path
from jobs import states
from jobs.needs import Capacity
from workspace.light_database import LightDatabase
database = LightDatabase(Path(sys.argv[1]), sys.argv[2])
while found := states.claim(database, "here", Capacity(1e9, 1 << 40)):
    print(found.name, found.number)
"""


def test_of_many_processes_that_reach_for_jobs_each_gets_others(any_workspace: Workspace) -> None:
    for number in range(300):
        queue(any_workspace, f"job{number}", needs=Needs(cpus=0))
    url = any_workspace.settings.database_url
    line = [sys.executable, "-c", _CLAIMING, str(any_workspace.home), url]
    crowd = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    names = [name for each in crowd for name in each.communicate(timeout=100)[0].splitlines()]
    assert len(names) == 300
    assert len(set(names)) == 300


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 2)), max_size=6))
def test_what_is_taken_away_never_leaves_less_than_nothing(taken: list[tuple[float, int]]) -> None:
    room = HERE.room
    for cpus, gpus in taken:
        room = room.less(Needs(cpus=cpus, gpus=gpus))
    assert room.cpus >= 0
    assert room.gpus >= 0
