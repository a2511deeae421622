from __future__ import annotations

from evals import runner, scorers
from evals.runner import Asked
from evals.scorers.applied import Applied
from evals.targets.function import Function
from evals.tasks import Task
from studiolo import eval_traces
from workspace import Workspace, tracking


def test_samples_are_traces_of_mlflow_with_their_scores_as_assessments(workspace: Workspace) -> None:
    def double(q: str) -> str:
        if q == "broken":
            raise ValueError(q)
        return q * 2

    rows = [{"q": "a", "expected": "aa"}, {"q": "b", "expected": "b"}, {"q": "broken", "expected": "x"}]
    task = Task(name="doubles", data=rows, scorers=("exact",))
    exact = Applied("exact", scorers.get("exact"), quick=True)
    *_, last = runner.run(workspace, task, Function(function=double), [exact], Asked(name="mine"))
    assert isinstance(last, runner.Finished)
    assert eval_traces.carry(workspace) == 3
    assert eval_traces.carry(workspace) == 0  # told once
    store = tracking.store_of(workspace)
    place = tracking.experiment_id(store, tracking.experiment_of(workspace, "traces"))
    found, _ = store.search_traces(locations=[place])
    told = {}
    for info in found:
        assessed = {each.name: each for each in store.get_trace_info(info.trace_id).assessments}
        said = assessed["exact"].feedback
        told[assessed["expected"].expectation.value] = (said.value, said.error and said.error.error_message)
    assert told == {"aa": (1.0, None), "b": (0.0, None), "x": (None, "no answer: ValueError: broken")}
    (workspace.runs.get("mine").directory / ".in-mlflow").unlink()
    assert eval_traces.carry(workspace) == 3
    again, _ = store.search_traces(locations=[place])
    assert len(again) == 3
    assert all(len(store.get_trace_info(info.trace_id).assessments) == 2 for info in again)
