from __future__ import annotations

from pathlib import Path

import pytest

from evals.tasks import Task
from evals.tasks.files import load
from workspace.errors import Invalid, NotFound, StudioloError

WHOLE = """\
$schema: urn:studiolo:schema:eval.task
name: sums
description: Sums of small numbers.
data: rows.jsonl
mapping: {q: "${data.question}", expected: "${data.right}"}
target: {model: chat}
prompt_file: prompt.txt
system: Answer with the number.
generate: {temperature: 0, max_tokens: 5}
few_shot: {data: dev.jsonl, count: 2, seed: 7}
scorers:
- exact
- {name: numeric, as: number}
epochs: {count: 4, reduce: [mean, pass@2, pass^2]}
slices: [kind]
limits: {sample_seconds: 5, tokens: 1000}
concurrency: 3
seed: 11
"""


HEAD = "data: a.jsonl\nscorers: [exact]\n"


def task_of(folder: Path, text: str, **changes: object) -> Task:
    (folder / "prompt.txt").write_text("{{q}}=")
    (folder / "task.yaml").write_text(text)
    return load(str(folder / "task.yaml"), changes=changes)


def test_a_task_file_says_all_that_a_task_has(tmp_path: Path) -> None:
    task = task_of(tmp_path, WHOLE)
    assert (task.name, task.prompt, task.epochs, task.reduce) == ("sums", "{{q}}=", 4, ("mean", "pass@2", "pass^2"))
    assert [each.label for each in task.scorings] == ["exact", "number"]
    assert task.few_shot is not None
    assert (task.few_shot.count, task.few_shot.seed, task.limits.tokens, task.seed) == (2, 7, 1000, 11)
    assert task.folder == tmp_path.resolve()


def test_changes_go_over_the_file(tmp_path: Path) -> None:
    task = task_of(tmp_path, WHOLE, **{"generate.temperature": 0.5, "name": "other"})
    assert (task.name, task.generate) == ("other", {"temperature": 0.5, "max_tokens": 5})


@pytest.mark.parametrize(
    ("wrong", "place", "hint"),
    [
        ("data: a.jsonl\nscorres: [exact]\n", ":2:1: unknown key 'scorres'", "did you mean 'scorers'?"),
        ("data: a.jsonl\nscorers: [exact]\ntarget: {modle: m}\n", ":3:10: unknown key 'modle'", "did you mean"),
        ("data: a.jsonl\nscorers: [exact]\nepochs: many\n", ":3:1: 'epochs' is a whole number", ""),
        ("data: a.jsonl\nscorers: [exact]\nlimits: {tokens: few}\n", ":3:10: limit 'tokens' is a number", ""),
        ("data: a.jsonl\nscorers: []\n", ":2:1: a task needs `scorers:`", ""),
        ("scorers: [exact]\n", "a task needs `data:`", ""),
        ("data: a.jsonl\nscorers: [exact]\nepochs: {count: 2, reduce: pass@3}\n", "pass@3 needs 3 repeats", ""),
        ("data: a.jsonl\nscorers: [exact, exact]\n", "", ""),
        (f"{HEAD}limits:\n  tokens: -1\n", ":4:3: limit 'tokens' must be above 0", ""),
        (f"{HEAD}limits:\n  tokns: 1\n", ":4:3: unknown key 'tokns'", "did you mean 'tokens'?"),
        (f"{HEAD}epochs:\n  count: 0\n", ":4:3: 'count' is at least 1", ""),
        (f"{HEAD}epochs:\n  count: 2\n  reduce: [maen]\n", ":5:3: no reducer 'maen'", "mean"),
        (f"{HEAD}gate:\n  margin: 2\n", ":4:3: a margin must be", ""),
        (f"{HEAD}gate:\n  margn: 0.1\n", ":4:3: a gate has no 'margn'", "did you mean 'margin'?"),
        (f"{HEAD}few_shot:\n  data: a\n  count: x\n", ":5:3: 'count' is a whole number", ""),
        (f"{HEAD}concurrency: 0\n", ":3:1: 'concurrency' is at least 1", ""),
        (f"{HEAD}generate:\n  temprature: 0\n", ":4:3: a request has no 'temprature'", "did you mean 'temperature'?"),
        (f"{HEAD}generate:\n  n: 4\n", ":4:3: a request has no 'n'", "extra_body"),
        (f"{HEAD}target:\n  api: chta\n", ":4:3: there is no API 'chta'", "did you mean 'chat'?"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, wrong: str, place: str, hint: str) -> None:
    with pytest.raises(StudioloError) as caught:
        assert task_of(tmp_path, wrong).scorings
    assert place in str(caught.value)
    assert hint in str(caught.value.hint)


def test_what_only_some_server_knows_goes_into_extra_body(tmp_path: Path) -> None:
    task = task_of(tmp_path, f"{HEAD}generate: {{temperature: 0, extra_body: {{wombat: 3}}}}\n")
    assert task.generate["extra_body"] == {"wombat": 3}
    with pytest.raises(Invalid, match="no 'temprature'"):
        Task(name="t", data=[], generate={"temprature": 0})


PYTHON = """\
from evals.tasks import Task, task

@task
def sums(count: int = 2) -> Task:
    return Task(name="sums", data=[{"q": str(n)} for n in range(count)], scorers=("exact",))

@task
def other() -> Task:
    return Task(name="other", data=[{"q": "1"}], scorers=("exact",))
"""


def test_a_marked_function_is_a_task_and_its_parameters_are_changes(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(PYTHON)
    where = str(tmp_path / "tasks.py")
    assert len(load(f"{where}:sums", changes={"count": 5}).data) == 5
    with pytest.raises(NotFound, match="has 2 tasks"):
        load(where)
    with pytest.raises(NotFound, match="no task 'summs'") as caught:
        load(f"{where}:summs")
    assert caught.value.hint == "did you mean 'sums'?"
    with pytest.raises(Invalid, match="unexpected keyword"):
        load(f"{where}:sums", changes={"cout": 5})
