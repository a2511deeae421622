from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals import results
from evals.adapters import inspect_ai
from evals.adapters.harness import Endpoint, record
from workspace import Workspace
from workspace.errors import Invalid

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def greetings():
    rows = [Sample(id="a", input="Say Hello", target="Hello"), Sample(id="b", input="Say Bye", target="Bye")]
    return Task(dataset=MemoryDataset(rows), solver=generate(), scorer=match(), epochs=2)
"""


def sample(**more: Any) -> dict[str, Any]:
    """Return a sample as Inspect 0.3.285 has written it, without what we do not read."""
    return {
        "id": "a",
        "epoch": 1,
        "input": "Say Hello",
        "target": "Hello",
        "output": {"model": "m", "completion": "Hello", "choices": []},
        "scores": {"match": {"value": "C", "answer": "Hello", "explanation": "Hello", "history": []}},
        "metadata": {"kind": "easy"},
        "model_usage": {"openai-api/studiolo/m": {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}},
        "total_time": 2.772,
    } | more


def logged(folder: Path, *samples: dict[str, Any]) -> Path:
    path = folder / "2026-11-28T05-41-46-00-00_greetings_x.json"
    path.write_text(json.dumps({"version": 2, "status": "success", "eval": {}, "samples": samples}))
    return path


def test_the_samples_of_inspect_become_ours(tmp_path: Path) -> None:
    logged(tmp_path, sample(), sample(epoch=2), sample(id=7, scores={"match": {"value": 0.25}}))
    first, again, other = inspect_ai.read(tmp_path)
    assert (first.name, first.number, first.epoch, first.answer, first.expected) == ("a", 0, 1, "Hello", "Hello")
    assert (first.tokens, first.model, first.metadata) == ((7, 2), "m", {"kind": "easy"})
    assert first.scores["match"].value == 1.0
    assert (again.number, again.epoch, again.row) == (0, 2, first.row)
    assert (other.name, other.number, other.scores["match"].value) == ("7", 1, 0.25)


def test_a_sample_that_failed_is_an_error_and_a_verdict_in_words_no_zero(tmp_path: Path) -> None:
    logged(tmp_path, sample(error={"message": "refused"}), sample(id="b", scores={"match": {"value": "good"}}))
    failed, told = inspect_ai.read(tmp_path)
    assert (failed.error, failed.answer, dict(failed.scores)) == ("refused", None, {})
    assert told.scores["match"].value is None


def test_no_log_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="has left no log"):
        inspect_ai.read(tmp_path)
    path = logged(tmp_path, {"id": "a"})
    with pytest.raises(Invalid, match="no log of Inspect") as caught:
        inspect_ai.read(tmp_path)
    assert caught.value.at is not None
    assert caught.value.at.path == path


def test_what_it_found_is_a_run_like_ours(tmp_path: Path, workspace: Workspace) -> None:
    logged(tmp_path, sample(), sample(id="b", scores={"match": {"value": "I"}}))
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    run = record(
        workspace, inspect_ai.read(tmp_path), name="theirs", harness="Inspect", task="greetings", endpoint=endpoint
    )
    assert (run.name, run.kind, run.params["harness"]) == ("theirs", "eval", "Inspect")
    [metric] = results.read(run).metrics
    assert (metric.name, metric.rows, metric.interval.estimate) == ("match", 2, 0.5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_inspect_itself_measures_an_endpoint(tmp_path: Path, answering: str) -> None:
    (tmp_path / "greetings.py").write_text(TASK)
    ask = inspect_ai.Ask(task=f"{tmp_path / 'greetings.py'}@greetings")
    *_, found = inspect_ai.measured(Endpoint(base_url=answering, model="m"), ask, tmp_path)
    assert isinstance(found, tuple)
    values = {(each.name, each.epoch): each.scores["match"].value for each in found}
    assert values == {("a", 1): 1.0, ("a", 2): 1.0, ("b", 1): 0.0, ("b", 2): 0.0}
