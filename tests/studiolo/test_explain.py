"""`studiolo explain`: from the id of an answer back to the weights, the rollout and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving import endpoints
from serving.rollouts import records
from serving.rollouts.records import Plan
from studiolo import explain
from workspace.errors import NotFound
from workspace.home import Workspace


@pytest.fixture
def answered(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace in which the candidate of a rollout has given one answer, over weights that a run had made."""
    (tmp_path / "data.jsonl").write_text("{}\n")
    data = workspace.assets.put("data", "chats", tmp_path / "data.jsonl")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    with workspace.run("train", name="tuned-it", inputs=[data]) as run:
        properties = {"task": "chat", "license": "apache-2.0", "source": "made here"}
        run.output(workspace.assets.put("model", "tuned", tmp_path / "weights", properties=properties))
    endpoints.put(workspace, "chat")
    for name in ("blue", "green"):
        endpoints.put_deployment(workspace, "chat", name, model="tuned")
    endpoints.put(workspace, "chat", traffic={"blue": 100})
    records.start(workspace, Plan(endpoint="chat", deployment="green"))
    key = workspace.tokens.check(workspace.tokens.local())
    row: dict[str, Any] = {
        "request_id": "r1", "response_id": "chatcmpl-1", "token": key.id, "path": "/v1/chat/completions",
        "endpoint": "chat", "deployment": "chat/green", "engine": "torch", "model": "model:tuned:1", "cohort": "a1f",
        "status": 200, "prompt_tokens": 7, "completion_tokens": 9, "cost": 0.0, "duration_ms": 250.0, "failures": [],
    }  # fmt: skip
    workspace.spool.append("request", row, event_id="r1")
    return workspace


@pytest.mark.parametrize("identifier", ["chatcmpl-1", "r1"])
def test_an_answer_leads_back_to_the_weights_and_the_data_behind_them(answered: Workspace, identifier: str) -> None:
    found = explain.explain(answered, identifier)
    text = explain.tree(answered, found)
    assert "answer chatcmpl-1: 200 in 0.25 s, 7 → 9 tokens" in text
    assert "asked with key 'local'" in text
    assert "cohort a1f" in text
    assert "deployment chat/green, engine torch" in text
    assert f"the candidate of rollout {records.get(answered, 'chat').id}" in text
    assert "model tuned:1" in text
    assert "license apache-2.0" in text
    assert "train run tuned-it (FINISHED)" in text
    assert "data chats:1" in text
    assert {edge.target for edge in found.upstream} >= {"model:tuned:1"}


def test_every_line_hangs_on_a_branch(answered: Workspace) -> None:
    lines = explain.tree(answered, explain.explain(answered, "r1")).splitlines()
    assert all(line.startswith(("├─ ", "└─ ", "│", "   ")) for line in lines[1:])
    assert sum(line.startswith("└─ ") for line in lines) == 1


def test_an_answer_that_nobody_gave_is_not_found(answered: Workspace) -> None:
    with pytest.raises(NotFound, match="no answer 'chatcmpl-2'"):
        explain.explain(answered, "chatcmpl-2")
