"""The tasks of `examples/evals` and of the guide, run as they are written, against a server that says anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evals import runner, scorers
from evals.runner import Asked, Finished
from evals.scorers.applied import Applied
from evals.scorers.registry import is_quick
from evals.targets.endpoint import Endpoint
from evals.tasks import Task, files
from tests.evals.answering import Reply, answering
from workspace import Workspace

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples" / "evals").iterdir() if path.suffix in (".yaml", ".py"))
SHARED = ROOT.parent / "shared" / "data" / "eval"


def anything(_: int, body: dict[str, Any]) -> Reply:
    """Answer a chat with words, a completion with code, and say that all that is sent is equally likely."""
    if "messages" in body:
        return Reply("Paris, 18")
    if not body.get("echo"):
        return Reply(raw=json.dumps({"choices": [{"text": "    return None\n"}]}).encode())
    prompt = body["prompt"]
    places = [*range(0, len(prompt), 4), len(prompt)]
    logprobs = {"text_offset": places, "token_logprobs": [None, *(-1.0 for _ in places[1:])]}
    return Reply(raw=json.dumps({"choices": [{"text": prompt + "!", "logprobs": logprobs}]}).encode())


def run(workspace: Workspace, task: Task, *, limit: int = 3) -> Finished:
    applied = [Applied(each.label, scorers.get(each.name, **each.settings), quick=is_quick(each.name))
               for each in task.scorings]  # fmt: skip
    with answering(anything) as server:
        target = Endpoint(
            base_url=server.url, model="m", api=task.target.get("api", "chat"), generate=task.generate,
            choosing=task.choosing,
        )  # fmt: skip
        *_, last = runner.run(workspace, task, target, applied, Asked(limit=limit))
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(workspace: Workspace, path: Path) -> None:
    if path.stem != "capitals" and not SHARED.is_dir():
        pytest.skip(f"the rows of {path.name} are not on this machine: {SHARED}")
    found = run(workspace, files.load(str(path)))
    assert (found.samples, found.errors) == (3, 0)
    assert found.metrics[0].rows == 3


def test_the_task_of_the_guide_is_made_as_it_writes_it(workspace: Workspace, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "evals.md").read_text("utf-8").partition("## Tasks\n")[2].partition("\n## Running")[0]
    (yaml,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "task.yaml").write_text(yaml)
    (tmp_path / "capitals.jsonl").write_text((ROOT / "examples" / "evals" / "capitals.jsonl").read_text())
    assert run(workspace, files.load(str(tmp_path / "task.yaml"))).errors == 0
    (python,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "own.py").write_text(python)
    found = run(workspace, files.load(str(tmp_path / "own.py"), changes={"count": 2}))
    assert [metric.name for metric in found.metrics] == ["contains", "short"]
    assert found.samples == 2
