"""Rollouts as they are planned, kept and audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from serving import endpoints
from serving.rollouts import files, records
from serving.rollouts.records import Plan
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace

PLAN = Plan(endpoint="chat", deployment="green", bake=0.0)


@pytest.fixture
def endpoint(workspace: Workspace) -> Workspace:
    """An endpoint with blue, which answers, and green, which waits."""
    endpoints.put(workspace, "chat")
    for name in ("blue", "green"):
        properties = {"base_url": "http://127.0.0.1:9/v1"}
        endpoints.put_deployment(workspace, "chat", name, engine="openai", model="m", properties=properties)
    endpoints.put(workspace, "chat", traffic={"blue": 100})
    return workspace


def traffic(workspace: Workspace) -> dict[str, float]:
    return dict(endpoints.get(workspace, "chat").traffic)


def test_a_rollout_goes_step_by_step_to_all_of_the_traffic(endpoint: Workspace) -> None:
    rollout = records.start(endpoint, PLAN)
    seen = [traffic(endpoint)["green"]]
    while rollout.state == "RUNNING":
        rollout = records.advance(endpoint, rollout)
        seen.append(traffic(endpoint)["green"])
    assert seen == [1, 10, 50, 100]
    assert (rollout.state, traffic(endpoint)) == ("COMPLETED", {"blue": 0, "green": 100})


def test_an_abort_brings_back_the_traffic_that_was(endpoint: Workspace) -> None:
    rollout = records.advance(endpoint, records.start(endpoint, PLAN))
    records.abort(endpoint, rollout, "errors")
    assert traffic(endpoint) == {"blue": 100}
    assert records.get(endpoint, "chat").reason == "errors"


def test_every_change_is_audited_and_the_log_is_whole(endpoint: Workspace) -> None:
    rollout = records.start(endpoint, PLAN)
    rollout = records.resume(endpoint, records.pause(endpoint, rollout, "lunch"))
    records.abort(endpoint, records.advance(endpoint, rollout), "errors")
    acts = [row.action for row in endpoint.audit.list() if row.action.startswith("rollout.")]
    assert acts[::-1] == ["rollout.start", "rollout.pause", "rollout.resume", "rollout.advance", "rollout.abort"]
    endpoint.audit.verify()


def test_of_two_that_decide_at_once_one_wins(endpoint: Workspace) -> None:
    rollout = records.start(endpoint, PLAN)
    records.abort(endpoint, rollout, "errors")
    with pytest.raises(Conflict, match="changed by somebody else"):
        records.advance(endpoint, rollout)
    assert not records.keep_evidence(endpoint, rollout, {})


def test_an_endpoint_has_one_rollout_at_a_time(endpoint: Workspace) -> None:
    records.start(endpoint, PLAN)
    with pytest.raises(Conflict, match="is RUNNING"):
        records.start(endpoint, PLAN)


def test_what_was_turned_away_is_not_tried_again_at_once_unless_forced(endpoint: Workspace) -> None:
    records.abort(endpoint, records.start(endpoint, PLAN), "errors")
    with pytest.raises(Conflict, match="turned away"):
        records.start(endpoint, PLAN)
    assert records.start(endpoint, PLAN, force=True).state == "RUNNING"


@pytest.mark.parametrize(
    ("plan", "error", "says"),
    [
        (replace(PLAN, deployment="gren"), NotFound, "no deployment 'gren'"),
        (replace(PLAN, deployment="blue"), Conflict, "has traffic already"),
        (replace(PLAN, endpoint="nobody"), NotFound, "no endpoint 'nobody'"),
    ],
)
def test_a_plan_that_fits_no_endpoint_is_refused(
    endpoint: Workspace, plan: Plan, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        records.start(endpoint, plan)


def test_a_plan_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "rollout.yml"
    path.write_text(
        "endpoint: chat\ndeployment: green\nsteps: [5, 100]\nbake: 10m\nguards: {errors: 0.01, first_token: }\n"
        "quality: {scorer: judge, rubric: Is it right?, model: smollm2-135m-instruct, sample: 1}\n"
    )
    plan = files.read(path)
    assert (plan.steps, plan.bake) == ((5, 100), 600.0)
    assert plan.guards == {"errors": 0.01, "first_token": 0.1, "quality": 0.05}
    assert plan.quality
    assert plan.quality.sample == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoint: chat\n", "`deployment` is missing"),
        ("endpoint: chat\ndeployment: green\nstepps: [1]\n", ":3:1"),
        ("endpoint: chat\ndeployment: green\nsteps: [10, 5, 100]\n", "must rise to 100"),
        ("endpoint: chat\ndeployment: green\nbake: soon\n", ":3:1.*no span of time"),
        ("endpoint: chat\ndeployment: green\nguards: {eror: 0.1}\n", "no guard 'eror'"),
        ("endpoint: chat\ndeployment: green\nguards: [quality]\n", "needs to know how to score"),
        ("endpoint: chat\ndeployment: green\nalpha: 2\n", "alpha lies between 0 and 1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "rollout.yml"
    path.write_text(text)
    with pytest.raises(Invalid, match=says):
        files.read(path)
