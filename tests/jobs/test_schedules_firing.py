"""Firing schedules: each due moment is one job, whoever looks at the clock, whoever dies, whatever was missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs import records, submit
from jobs.files import read_schedule
from jobs.files.overrides import parse
from jobs.owners import SILENT
from jobs.schedules import firing, store
from jobs.schedules.firing import Firing
from jobs.schedules.store import ScheduleRecord
from tests.jobs.conftest import job_of
from workspace.errors import Conflict, Invalid, NotFound, Unavailable
from workspace.home import Workspace

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
HOURLY = 'type: cron\nexpression: "0 * * * *"'
Make = Callable[..., ScheduleRecord]


def written(folder: Path, name: str, trigger: str = HOURLY, rest: str = "", job: str = "") -> Path:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "say.py").write_text("import sys\nprint(*sys.argv[1:])\n")
    (folder / "job.yml").write_text(
        job
        or "command: python3 say.py ${{inputs.rate}} $(cat ${{inputs.rows}})\ncode: src\n"
        "inputs:\n  rate: 0.1\n  rows:\n    type: uri_file\n    path: rows.txt\n"
    )
    (folder / "rows.txt").write_text("first\n")
    path = folder / f"{name}.yml"
    path.write_text(f"name: {name}\ntrigger:\n{textwrap.indent(trigger, '  ')}\ncreate_job: ./job.yml\n{rest}")
    return path


@pytest.fixture
def here(request: pytest.FixtureRequest) -> Workspace:
    """The workspace that a test asks for: on both engines where that may matter."""
    name = "any_workspace" if "any_workspace" in request.fixturenames else "workspace"
    found: Workspace = request.getfixturevalue(name)
    return found


@pytest.fixture
def make(here: Workspace, tmp_path: Path) -> Make:
    """Make a schedule at noon: `make("nightly", 'type: cron\\n…', "properties: …")`."""

    def made(name: str, trigger: str = HOURLY, rest: str = "", *, now: float = NOON, job: str = "") -> ScheduleRecord:
        return store.put(here, read_schedule(written(tmp_path, name, trigger, rest, job)), now=now)

    return made


@pytest.fixture(autouse=True)
def no_jobs_left(here: Workspace) -> Iterator[None]:
    """Wait for the jobs of a test to end."""
    yield
    for job in records.list_jobs(here):
        submit.cancel(here, job.name)
        submit.wait(here, job.name, seconds=60)


def jobs_of(fired: list[Firing]) -> list[str]:
    return [each.job for each in fired]


def test_a_schedule_is_fired_when_it_is_due_and_once(any_workspace: Workspace, make: Make) -> None:
    assert make("hourly").next_due == NOON
    assert jobs_of(firing.tick(any_workspace, NOON)) == ["hourly-20260501T120000Z"]
    assert firing.tick(any_workspace, NOON) == []
    assert firing.tick(any_workspace, NOON + HOUR - 1) == []
    assert jobs_of(firing.tick(any_workspace, NOON + HOUR + 2)) == ["hourly-20260501T130000Z"]
    assert store.get(any_workspace, "hourly").next_due == NOON + 2 * HOUR
    job = submit.wait(any_workspace, "hourly-20260501T120000Z", seconds=60)
    assert (job.status, job.display_name) == ("Completed", "hourly-20260501T120000Z")
    assert job.properties["studiolo.schedule"] == "hourly"
    assert b"".join(submit.stream(any_workspace, job.name)).split() == [b"0.1", b"first"]


def test_code_is_kept_and_data_is_read_anew(workspace: Workspace, make: Make, tmp_path: Path) -> None:
    make("hourly")
    (tmp_path / "src" / "say.py").write_text("raise SystemExit(1)\n")
    (tmp_path / "job.yml").unlink()
    (tmp_path / "rows.txt").write_text("second\n")
    (done,) = firing.tick(workspace, NOON)
    assert submit.wait(workspace, done.job, seconds=60).status == "Completed"
    assert b"".join(submit.stream(workspace, done.job)).split() == [b"0.1", b"second"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("none", []), ("last", [3]), (None, [3]), ("all", [1, 2, 3]),
    ],
)  # fmt: skip
def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    workspace: Workspace, make: Make, policy: str | None, expected: list[int]
) -> None:
    made = make("hourly", rest=f"properties:\n  studiolo.catch_up: {policy}\n" if policy else "", now=NOON + 1)
    assert made.next_due == NOON + HOUR
    late = NOON + 3 * HOUR + 5 * MINUTE
    fired = firing.tick(workspace, late)
    assert [round((each.due - NOON) / HOUR) for each in fired] == expected
    assert sum(each.missed for each in fired) == (2 if expected == [3] else 0)
    assert store.get(workspace, "hourly").next_due == NOON + 4 * HOUR
    assert firing.tick(workspace, late) == []


def test_a_moment_just_past_is_not_missed(workspace: Workspace, make: Make) -> None:
    make("hourly", rest="properties: {studiolo.catch_up: none}\n", now=NOON + 1)
    assert len(firing.tick(workspace, NOON + HOUR + 50)) == 1


def test_very_many_that_were_missed_come_some_at_a_time_and_all_of_them(workspace: Workspace, make: Make) -> None:
    trigger = "type: recurrence\nfrequency: minute\ninterval: 1\nstart_time: 2026-05-01T12:00:00"
    make("often", trigger, "properties: {studiolo.catch_up: all}\n", job="command: x\ncompute: nowhere_at_all\n")
    claimed: list[float] = []
    for _ in range(3):
        for schedule in store.due(workspace, NOON + 149 * MINUTE):
            firing._claim(workspace, schedule, NOON + 149 * MINUTE)
    claimed = [each.due for each in firing.listed(workspace, "often", limit=1000)]
    assert sorted(claimed) == [NOON + number * MINUTE for number in range(150)]
    store.remove(workspace, "often")


def test_a_policy_that_nobody_knows_is_refused(make: Make) -> None:
    with pytest.raises(Invalid, match="cannot be 'latest'") as refused:
        make("hourly", rest="properties: {studiolo.catch_up: latest}\n")
    assert refused.value.hint == "did you mean 'last'?"


def test_a_recurrence_without_a_start_is_fired_at_once(workspace: Workspace, make: Make) -> None:
    make("daily", "type: recurrence\nfrequency: day\ninterval: 1", now=NOON + 0.25)
    assert jobs_of(firing.tick(workspace, NOON + 1)) == ["daily-20260501T120000Z"]
    assert store.get(workspace, "daily").next_due == NOON + DAY + 0.25


def test_a_disabled_schedule_rests_and_what_it_missed_is_not_made_up_for(workspace: Workspace, make: Make) -> None:
    make("hourly", rest="properties: {studiolo.catch_up: all}\n", now=NOON + 1)
    assert store.switch(workspace, "hourly", enabled=False, now=NOON + 2).upcoming(NOON) == []
    assert firing.tick(workspace, NOON + 5 * HOUR) == []
    back = store.switch(workspace, "hourly", enabled=True, now=NOON + 5.5 * HOUR)
    assert back.upcoming(NOON + 5.5 * HOUR, 2) == [NOON + 6 * HOUR, NOON + 7 * HOUR]
    assert firing.tick(workspace, NOON + 5.5 * HOUR) == []


def test_changes_at_one_time_are_all_kept(workspace: Workspace, make: Make) -> None:
    make("hourly", now=NOON + 1)

    def change(number: int) -> None:
        for step in range(3):
            store.change(workspace, "hourly", (parse(f"tags.t{number}-{step}=x"),), now=NOON + 2)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(store.get(workspace, "hourly").spec["tags"]) == 12


def test_a_changed_schedule_runs_as_it_is_now(workspace: Workspace, make: Make) -> None:
    make("hourly", now=NOON + 1)
    settings = ("trigger.expression=30 * * * *", "create_job.inputs.rate=0.5", "tags.team=red")
    store.change(workspace, "hourly", tuple(map(parse, settings)), now=NOON + 2)
    (done,) = firing.tick(workspace, NOON + HOUR / 2)
    assert b"".join(submit.stream(workspace, done.job)).startswith(b"0.5 ")
    assert store.get(workspace, "hourly").spec["tags"] == {"team": "red"}
    with pytest.raises(Invalid, match="cron expression"):
        store.change(workspace, "hourly", (parse("trigger.expression=x"),), now=NOON + 3)
    with pytest.raises(Invalid, match="stays as it is"):
        store.change(workspace, "hourly", (parse("name=x"),), now=NOON + 3)


def test_writing_a_schedule_again_does_not_fire_it_again(workspace: Workspace, make: Make) -> None:
    trigger = "type: recurrence\nfrequency: day\ninterval: 1"
    make("daily", trigger)
    assert len(firing.tick(workspace, NOON)) == 1
    make("daily", trigger, "tags: {team: red}\n", now=NOON + 5)
    assert firing.tick(workspace, NOON + 10) == []


def test_what_is_removed_is_gone_and_its_jobs_stay(any_workspace: Workspace, make: Make) -> None:
    make("hourly")
    (done,) = firing.tick(any_workspace, NOON)
    store.remove(any_workspace, "hourly")
    assert firing.tick(any_workspace, NOON + 2 * HOUR) == []
    assert records.get(any_workspace, done.job).name == done.job
    with pytest.raises(NotFound, match="no schedule 'hourly'"):
        store.get(any_workspace, "hourly")


def test_triggered_by_hand_with_parameters_also_while_disabled(workspace: Workspace, make: Make) -> None:
    make("hourly")
    store.switch(workspace, "hourly", enabled=False, now=NOON)
    given = {"inputs": {"rate": 7}, "tags": {"why": "test"}, "experiment_name": "tries"}
    done, is_new = firing.trigger(workspace, "hourly", given, now=NOON + 5)
    assert is_new
    assert done.job.startswith("hourly-20260501T120005Z-")
    job = records.get(workspace, done.job)
    assert (job.experiment, job.tags["why"]) == ("tries", "test")
    assert b"".join(submit.stream(workspace, done.job)).startswith(b"7 first")


def test_data_is_given_by_its_place_alone(workspace: Workspace, make: Make, tmp_path: Path) -> None:
    make("hourly")
    (tmp_path / "other.txt").write_text("other\n")
    given = {"inputs": {"rows": str(tmp_path / "other.txt")}}
    done, _ = firing.trigger(workspace, "hourly", given, now=NOON)
    assert b"".join(submit.stream(workspace, done.job)) == b"0.1 other\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"inputs": {"rat": 1}}, "no input 'rat'"), ({"input": {}}, "unknown parameter 'input'"),
        ({"inputs": 5}, "must be a mapping"), ({"compute": []}, "compute"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused(
    workspace: Workspace, make: Make, given: dict[str, object], words: str
) -> None:
    make("hourly")
    with pytest.raises(Invalid, match=words):
        firing.trigger(workspace, "hourly", given, now=NOON)
    assert records.list_jobs(workspace) == []


def test_who_asks_twice_with_one_key_gets_one_job(any_workspace: Workspace, make: Make) -> None:
    make("hourly")
    given = {"inputs": {"rate": 7}}
    one, is_new = firing.trigger(any_workspace, "hourly", given, now=NOON, cause="http", key="k")
    two, is_new_again = firing.trigger(any_workspace, "hourly", given, now=NOON + 9, cause="http", key="k")
    assert (one.job, is_new, is_new_again) == (two.job, True, False)
    assert len(records.list_jobs(any_workspace)) == 1
    with pytest.raises(Conflict, match="other parameters"):
        firing.trigger(any_workspace, "hourly", {}, now=NOON, cause="http", key="k")


def test_a_job_that_was_submitted_is_run_again_with_changes(workspace: Workspace, make: Make, tmp_path: Path) -> None:
    make("first")
    (before,) = firing.tick(workspace, NOON)
    (tmp_path / "src" / "say.py").unlink()
    path = tmp_path / "again.yml"
    path.write_text(
        f"name: again\ntrigger:\n  type: cron\n  expression: 0 * * * *\ncreate_job:\n  type: command\n"
        f"  job: azureml:{before.job}\n  inputs:\n    rate: 0.9\n  tags:\n    again: x\n"
    )
    store.put(workspace, read_schedule(path), now=NOON + 1)
    done = [each for each in firing.tick(workspace, NOON + HOUR) if each.schedule == "again"]
    assert b"".join(submit.stream(workspace, done[0].job)) == b"0.9 first\n"
    assert records.get(workspace, done[0].job).tags["again"] == "x"


def test_a_schedule_of_a_job_that_is_not_there_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "again.yml"
    path.write_text("name: again\ntrigger:\n  type: cron\n  expression: 0 * * * *\ncreate_job: azureml:nobody\n")
    with pytest.raises(NotFound, match="no job 'nobody'"):
        store.put(workspace, read_schedule(path), now=NOON)


def test_a_firing_that_cannot_be_says_why_and_the_next_one_comes(
    workspace: Workspace, make: Make, tmp_path: Path
) -> None:
    make("hourly")
    (tmp_path / "rows.txt").unlink()
    (failed,) = firing.tick(workspace, NOON)
    assert failed.status == "failed"
    assert "rows.txt" in (failed.error or "")
    (tmp_path / "rows.txt").write_text("back\n")
    assert [each.status for each in firing.tick(workspace, NOON + HOUR)] == ["started"]


def test_what_is_not_to_be_had_now_is_tried_again(
    workspace: Workspace, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    make("hourly")
    with monkeypatch.context() as patched:
        patched.setattr("jobs.schedules.firing.create", full)
        (waiting,) = firing.tick(workspace, NOON)
    assert (waiting.status, waiting.error) == ("waiting", "the disk is full")
    assert firing.tick(workspace, NOON + 1) == []
    assert [each.status for each in firing.tick(workspace, NOON + 3)] == ["started"]


def test_a_firing_whose_end_could_not_be_written_down_becomes_one_job(
    any_workspace: Workspace, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unavailable("the database is gone")

    make("hourly", job="command: 'true'\n")
    with monkeypatch.context() as patched:
        patched.setattr(firing, "_end", gone)
        with pytest.raises(Unavailable):
            firing.tick(any_workspace, NOON)
    assert firing.tick(any_workspace, NOON + SILENT) == []
    (done,) = firing.tick(any_workspace, NOON + SILENT + 1)
    assert (done.status, done.tries) == ("started", 2)
    assert [job.name for job in records.list_jobs(any_workspace)] == [done.job]


def test_many_who_look_at_the_clock_at_once_fire_once(any_workspace: Workspace, make: Make) -> None:
    for number in range(5):
        make(f"hourly{number}", job="command: 'true'\n")
    barrier, fired = threading.Barrier(4), []

    def look() -> None:
        with Workspace.open(settings=any_workspace.settings) as own:
            barrier.wait()
            for _ in range(3):
                fired.extend(jobs_of(firing.tick(own, NOON)))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fired) == [f"hourly{number}-20260501T120000Z" for number in range(5)]
    assert len(records.list_jobs(any_workspace)) == 5


LOOKS = """
import sys, time
from jobs.schedules import firing
from workspace.home import Workspace
from workspace.settings import Settings
point, real = sys.argv[2], firing.create
def create(workspace, job, wishes):
    made = real(workspace, job, wishes) if point == "after" else None
    print("here", flush=True)
    time.sleep(60)
    return made
if point in ("before", "after"):
    firing.create = create
with Workspace.open(settings=Settings.from_environment()) as workspace:
    if point == "claimed":
        firing._start = lambda *_: (print("here", flush=True), time.sleep(60))
    firing.tick(workspace, float(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "any_workspace",
    ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow])],
    indirect=True,
)
@pytest.mark.parametrize("point", ["claimed", "before", "after"])
def test_a_firing_whose_maker_was_killed_becomes_one_job(any_workspace: Workspace, make: Make, point: str) -> None:
    make("hourly", job="command: 'true'\n")
    environment = os.environ | any_workspace.settings.environment()
    maker = subprocess.Popen(
        [sys.executable, "-c", LOOKS, str(NOON), point], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    assert maker.stdout.readline() == "here\n"
    assert firing.tick(any_workspace, NOON + 1) == [], "its maker lives"
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    maker.stdout.close()
    (done,) = firing.tick(any_workspace, NOON + 2)
    assert (done.status, done.job) == ("started", "hourly-20260501T120000Z")
    assert firing.tick(any_workspace, NOON + 3) == []
    assert [job.name for job in records.list_jobs(any_workspace)] == [done.job]
    assert submit.wait(any_workspace, done.job, seconds=60).status == "Completed"


def test_a_job_of_somebody_else_by_that_name_is_not_taken_for_ours(
    workspace: Workspace, make: Make, tmp_path: Path
) -> None:
    submit.submit(workspace, job_of(tmp_path, "true", "name: hourly-20260501T120000Z\n"))
    make("hourly")
    (failed,) = firing.tick(workspace, NOON)
    assert (failed.status, "there is a job" in (failed.error or "")) == ("failed", True)


def test_firings_are_known_for_a_month(workspace: Workspace, make: Make) -> None:
    make("daily", 'type: cron\nexpression: "0 12 * * *"', job="command: 'true'\n")
    for day in (0, 1, 31, 32):
        firing.tick(workspace, NOON + day * DAY)
    found = [round((each.due - NOON) / DAY) for each in firing.listed(workspace, "daily")]
    assert found == [32, 31]
