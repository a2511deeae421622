"""What is fired when nobody looked at the clock for a while: however often and late somebody looks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.files import read_schedule
from jobs.schedules import firing, store
from workspace.home import Workspace

NOON = 1_777_636_800.0
MINUTE = 60.0
NUMBERS = itertools.count()


def fired(workspace: Workspace, folder: Path, policy: str, every: int, looks: list[float]) -> list[tuple[float, float]]:
    """Look at the clock at some moments; return each firing with the moment of the look that made it."""
    name = f"watch{next(NUMBERS)}"
    path = folder / "watch.yml"
    # Without its data it makes no job: what is fired is what counts here.
    rows = folder / "rows.txt"
    rows.touch()
    (folder / "job.yml").write_text("command: cat ${{inputs.rows}}\ninputs: {rows: {type: uri_file, path: rows.txt}}\n")
    path.write_text(
        f"name: {name}\nproperties: {{studiolo.catch_up: {policy}}}\n"
        f"trigger: {{type: cron, expression: '*/{every} * * * *'}}\ncreate_job: ./job.yml\n"
    )
    store.put(workspace, read_schedule(path), now=NOON + 1)
    rows.unlink()
    found = [(each.due, now) for now in looks for each in firing.tick(workspace, now) if each.schedule == name]
    store.remove(workspace, name)
    return found


@pytest.mark.parametrize("policy", ["all", "last", "none"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pauses=st.lists(st.sampled_from((1.0, 20.0, 61.0, 600.0, 5000.0)), min_size=1, max_size=12),
    every=st.sampled_from((1, 7, 30)),
)
def test_each_moment_is_fired_once_or_left_out_as_the_policy_says(
    workspace: Workspace, tmp_path: Path, policy: str, pauses: list[float], every: int
) -> None:
    looks = [NOON + 1 + each for each in itertools.accumulate(pauses)]
    found = fired(workspace, tmp_path, policy, every, looks)
    minutes = range(int((looks[-1] - NOON) // MINUTE) + 1)
    due = [NOON + minute * MINUTE for minute in minutes if minute and minute % 60 % every == 0]
    moments = [each for each, _ in found]
    assert moments == sorted(set(moments)), "none comes twice"
    assert set(moments) <= set(due)
    for before, now in itertools.pairwise([NOON + 1, *looks]):
        meanwhile = [each for each in due if before < each <= now]
        expected = {
            "all": meanwhile,
            "none": [each for each in meanwhile if each >= now - firing.LATE],
            "last": [each for each in meanwhile if each >= now - firing.LATE] or meanwhile[-1:],
        }
        if len(meanwhile) <= firing.AT_ONCE and policy != "all":
            assert [each for each, look in found if look == now] == expected[policy]
    if policy == "all" and len(due) <= firing.AT_ONCE:
        assert moments == due
