"""`studiolo rollout` as a person types it, and the scores that a rollout waits for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serving import endpoints
from serving.rollouts import records
from serving.rollouts.records import Plan, Quality
from studiolo import rollout_scoring
from studiolo.arguments import spread
from studiolo.cli import app
from workspace.errors import Invalid, StudioloError
from workspace.home import Workspace

Run = Callable[..., Result]
FILE = "endpoint: chat\ndeployment: green\nsteps: [10, 100]\nbake: 0s\n"


@pytest.fixture
def endpoint(workspace: Workspace) -> Workspace:
    endpoints.put(workspace, "chat")
    for name in ("blue", "green"):
        properties = {"base_url": "http://127.0.0.1:9/v1"}
        endpoints.put_deployment(workspace, "chat", name, engine="openai", model="m", properties=properties)
    endpoints.put(workspace, "chat", traffic={"blue": 100})
    return workspace


@pytest.fixture
def run_command(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the workspace; an error of ours is raised."""
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, spread([*arguments]), catch_exceptions=False)

    return run


def test_a_rollout_is_begun_shown_paused_and_aborted(endpoint: Workspace, tmp_path: Path, run_command: Run) -> None:
    (tmp_path / "rollout.yml").write_text(FILE)
    began = run_command("rollout", "start", "-f", str(tmp_path / "rollout.yml"), "--json")
    identifier = json.loads(began.stdout)["id"]
    assert endpoints.get(endpoint, "chat").traffic == {"blue": 90, "green": 10}
    assert "RUNNING at 10 %" in run_command("rollout", "show", "chat").stdout
    assert "PAUSED" in run_command("rollout", "pause", identifier, "--reason", "lunch").stdout
    assert "RUNNING" in run_command("rollout", "resume", identifier).stdout
    assert "ABORTED" in run_command("rollout", "abort", identifier, "--reason", "too slow").stdout
    assert "too slow" in run_command("rollout", "list", "-e", "chat").stdout
    assert endpoints.get(endpoint, "chat").traffic == {"blue": 100}
    with pytest.raises(StudioloError, match="chat/green was turned away"):
        run_command("rollout", "watch", identifier)


def test_what_has_ended_cannot_be_aborted(endpoint: Workspace, run_command: Run) -> None:
    records.abort(endpoint, records.start(endpoint, Plan(endpoint="chat", deployment="green")), "errors")
    with pytest.raises(StudioloError, match="has ended: ABORTED"):
        run_command("rollout", "abort", "chat")


def test_a_plan_with_a_mistake_is_refused_with_its_line(endpoint: Workspace, tmp_path: Path, run_command: Run) -> None:
    (tmp_path / "rollout.yml").write_text(FILE + "guard: {}\n")
    with pytest.raises(Invalid, match=r"rollout\.yml:5:1") as refused:
        run_command("rollout", "start", "-f", str(tmp_path / "rollout.yml"))
    assert "guards" in str(refused.value.hint)


def test_a_change_without_a_value_is_refused(endpoint: Workspace, tmp_path: Path, run_command: Run) -> None:
    (tmp_path / "rollout.yml").write_text(FILE)
    run_command("rollout", "start", "-f", str(tmp_path / "rollout.yml"), "--set", "bake=1h")
    assert records.get(endpoint, "chat").plan.bake == 3_600
    with pytest.raises(Invalid, match="takes key=value, not 'bake'"):
        run_command("rollout", "start", "-f", str(tmp_path / "rollout.yml"), "--set", "bake", "--force")


def test_answers_laid_aside_are_scored_once_and_what_cannot_be_scored_is_left_out(endpoint: Workspace) -> None:
    quality = Quality(scorer="exact", sample=1.0)
    plan = Plan(endpoint="chat", deployment="green", guards={"quality": 0.05}, quality=quality)
    folder = endpoint.home / "rollouts" / records.start(endpoint, plan).id
    folder.mkdir(parents=True)
    rows = [
        {"request_id": f"r{number}", "candidate": number == 0, "answer": "Paris", "request": {"metadata": metadata}}
        for number, metadata in enumerate([{"expected": "paris"}, {"expected": "Rome"}, None])
    ]
    (folder / "samples.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"half')
    assert rollout_scoring.score_new(endpoint) == 2
    assert rollout_scoring.score_new(endpoint) == 0
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert [(row["request_id"], row["candidate"], row["value"]) for row in scores] == [
        ("r0", True, 1.0),
        ("r1", False, 0.0),
    ]


def test_a_judge_without_a_gateway_waits_and_one_without_a_model_is_refused(endpoint: Workspace) -> None:
    plan = Plan(endpoint="chat", deployment="green", guards={"quality": 0.05}, quality=Quality(model="m"))
    folder = endpoint.home / "rollouts" / records.start(endpoint, plan).id
    folder.mkdir(parents=True)
    (folder / "samples.jsonl").write_text("{}\n")
    assert rollout_scoring.score_new(endpoint) == 0
    with pytest.raises(Invalid, match="needs a model"):
        rollout_scoring.scorer_of(endpoint, Quality())
