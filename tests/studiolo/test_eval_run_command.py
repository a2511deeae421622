from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import studiolo as door
from evals.runner import Finished
from evals.samples import Sample
from studiolo.commands.eval import app
from studiolo.evaluating import Wanted
from tests.evals.answering import Reply, Server, answering, doubled
from workspace import Workspace
from workspace.errors import Conflict, Invalid, NotFound

TASK = """\
name: sums
data: rows.jsonl
mapping: {q: "${data.q}"}
prompt: "{{q}}"
scorers: [exact, {name: contains, as: within}]
slices: [kind]
"""


@pytest.fixture
def studiolo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    rows = [{"id": f"r{n}", "q": f"{n}+{n}=", "expected": str(2 * n), "kind": "ab"[n % 2]} for n in range(10)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def server() -> Iterator[Server]:
    def behave(count: int, body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        return Reply(status=400) if asked == "7+7=" else Reply("9") if asked == "3+3=" else doubled(count, body)

    with answering(behave) as found:
        yield found


def test_a_task_is_run_and_its_errors_count_for_nothing(studiolo: Callable[..., Result], server: Server) -> None:
    result = studiolo("run", "sums.yaml", "--target", f"{server.url}#m", "--name", "mine")
    assert result.exit_code == 1  # some samples have errors
    assert "exact 0.889 (95 % interval 0.565 to 0.980; Wilson), 9 rows, 1 errors; a change of 0.667" in result.stdout
    assert "exact [kind=a] 1.000" in result.stdout
    assert "within 0.889" in result.stdout
    shown = studiolo("show", "mine", "--errors").stdout
    assert shown.splitlines()[0].startswith("r7 ")
    assert len(shown.splitlines()) == 1
    assert studiolo("show", "mine", "--failed").stdout.splitlines()[0].split() == ["r3", "exact=0", "within=0", "9"]
    said = studiolo("show", "mine", "--sample", "r3").stdout
    assert "[user]\n3+3=" in said
    assert "[answer]\n9" in said
    assert "[expected]\n6" in said
    assert "mine" in studiolo("list").stdout


def test_a_run_is_data_and_a_page(studiolo: Callable[..., Result], server: Server, tmp_path: Path) -> None:
    outputs = ["-o", str(tmp_path / "run.html"), "-o", str(tmp_path / "run.json")]
    result = studiolo("run", "sums.yaml", "--target", f"{server.url}#m", "--limit", "4", "--json", *outputs)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["samples"], told["errors"], told["task"]) == (0, 4, 0, "sums")
    assert told == json.loads((tmp_path / "run.json").read_text())
    page = (tmp_path / "run.html").read_text()
    assert page.index("<dt>user</dt><dd>3+3=") < page.index("<dt>user</dt><dd>0+0=")  # the worst first
    again = studiolo("view", told["name"], "-o", str(tmp_path / "again.html"))
    assert again.exit_code == 0
    assert (tmp_path / "again.html").read_text() == page
    assert isinstance(studiolo("run", "sums.yaml", "-o", "x.pdf").exception, Invalid)


def test_what_a_row_says_is_text_in_the_page(studiolo: Callable[..., Result], tmp_path: Path) -> None:
    with answering(lambda *_: Reply("<script>alert(1)</script>")) as server:
        studiolo("run", "sums.yaml", "--target", f"{server.url}#m", "--limit", "1", "-o", str(tmp_path / "run.html"))
    assert "<script>alert" not in (tmp_path / "run.html").read_text()


def test_settings_epochs_and_seed_are_asked_for(studiolo: Callable[..., Result], server: Server) -> None:
    words = ["--set", "generate.temperature=0.5", "--epochs", "2", "--seed", "5", "--limit", "1"]
    assert studiolo("run", "sums.yaml", "--target", f"{server.url}#m", *words).exit_code == 0
    assert [(body["temperature"], body["seed"]) for body in server.asked] == [(0.5, 5), (0.5, 6)]
    assert studiolo("run", "sums.yaml", "--target", f"{server.url}#m", *words).exit_code == 0
    assert len(server.asked) == 2  # kept
    assert studiolo("run", "sums.yaml", "--target", f"{server.url}#m", *words, "--no-cache").exit_code == 0
    assert len(server.asked) == 4


def test_a_run_goes_on_as_it_was_asked_for(studiolo: Callable[..., Result], tmp_path: Path) -> None:
    with answering(lambda count, body: Reply(status=404) if count else doubled(count, body)) as server:
        words = ["--target", f"{server.url}#m", "--concurrency", "1", "--name", "paused", "--set", "limits.tokens=6"]
        paused = studiolo("run", "sums.yaml", *words)
        assert paused.exit_code == 1
        assert "go on: studiolo eval run --resume paused" in paused.stderr
        (tmp_path / "rows.jsonl").write_text('{"q": "1+1=", "expected": "2", "kind": "a"}\n')
        assert isinstance(studiolo("run", "--resume", "paused").exception, Conflict)


def test_a_function_and_answers_that_are_there_are_targets(studiolo: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def double(q):\n    return eval(q.rstrip('='))\n")
    told = json.loads(studiolo("run", "sums.yaml", "--target", "function:own.py:double", "--json").stdout)
    assert [metric["interval"]["estimate"] for metric in told["metrics"]][:1] == [1.0]
    again = json.loads(studiolo("run", "sums.yaml", "--target", f"run:{told['name']}", "--json").stdout)
    assert again["metrics"] == told["metrics"]
    (tmp_path / "rows.jsonl").write_text('{"q": "1", "said": "x", "expected": "x"}\n')
    (tmp_path / "there.yaml").write_text(
        "data: rows.jsonl\nscorers: [exact]\ntarget: {answers: true}\n"
        'mapping: {q: "${data.q}", answer: "${data.said}"}\n'
    )
    there = json.loads(studiolo("run", "there.yaml", "--json").stdout)
    assert there["metrics"][0]["interval"]["estimate"] == 1.0
    assert isinstance(studiolo("run", "sums.yaml", "--target", "function:own.py:duoble").exception, NotFound)


def test_a_scorer_of_a_file_is_one(studiolo: Callable[..., Result], server: Server, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from studiolo import Sample, scorer\n@scorer('tiny')\ndef tiny(sample: Sample, *, most: int = 1) -> float:\n"
        "    return float(len(sample.answer) <= most)\n"
    )
    (tmp_path / "t.yaml").write_text(TASK.replace("[exact,", "[{name: 'own.py:tiny', most: 2, as: tiny},"))
    told = json.loads(studiolo("run", "t.yaml", "--target", f"{server.url}#m", "--limit", "3", "--json").stdout)
    assert told["metrics"][0]["name"] == "tiny"
    assert told["metrics"][0]["interval"]["estimate"] == 1.0


def test_the_door_runs_tasks_made_in_python(workspace: Workspace) -> None:
    @door.scorer("short answers", quick=True)
    def short(sample: Sample) -> float:
        return float(len(sample.answer or "") < 3)

    task = door.Task(name="py", data=[{"q": "4", "expected": "44"}], scorers=("exact", "short answers"))
    *_, last = door.evaluate(workspace, task, lambda q: q * 2, wanted=Wanted(name="py"))
    assert isinstance(last, Finished)
    assert [metric.interval.estimate for metric in last.metrics] == [1.0, 1.0]


def test_samples_are_traces_and_rows_of_the_ledger(
    workspace: Workspace, studiolo: Callable[..., Result], server: Server
) -> None:
    studiolo("run", "sums.yaml", "--target", f"{server.url}#m", "--name", "mine")
    from studiolo.commands import trace

    shown = CliRunner().invoke(trace.app, ["show", "mine", "--line", "3", "--verbose"]).stdout
    assert "mine, line 3" in shown
    assert "5 → 1 tokens" in shown
    assert "3+3=" in shown
    query = "SELECT scorer, count(value), sum(value) FROM eval_scores GROUP BY ALL ORDER BY scorer"
    assert workspace.sql(query).rows == [("exact", 9, 8.0), ("within", 9, 8.0)]
    query = "SELECT name, answer, error IS NOT NULL FROM eval_items WHERE number IN (3, 7) ORDER BY number"
    assert workspace.sql(query).rows == [("r3", "9", False), ("r7", None, True)]


def test_ctrl_c_pauses_and_says_how_to_go_on(studiolo: Callable[..., Result], workspace: Workspace) -> None:
    def slowly(count: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.05 if count < 8 else 5)
        return doubled(count, body)

    with answering(slowly) as server:
        command = [sys.executable, "-m", "studiolo", "eval", "run", "sums.yaml", "--target", f"{server.url}#m"]
        environment = os.environ | {"STUDIOLO_HOME": str(workspace.home), "PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(
            [*command, "--concurrency", "2", "--name", "mine"], stderr=subprocess.PIPE, env=environment
        )
        until = time.monotonic() + 30
        while len(server.asked) < 9 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on: studiolo eval run --resume mine" in said.decode()
    assert workspace.runs.get("mine").status == "PAUSED"


def test_an_address_with_a_password_is_refused(studiolo: Callable[..., Result]) -> None:
    found = studiolo("run", "sums.yaml", "--target", "http://me:secret@127.0.0.1:9/v1#m").exception
    assert isinstance(found, Invalid)
    assert "secret" not in str(found)


def test_a_paused_run_passes_no_gate_and_a_metric_that_went_missing_is_told(
    studiolo: Callable[..., Result], server: Server, tmp_path: Path
) -> None:
    words = ["--target", f"{server.url}#m", "--concurrency", "1", "--name"]
    studiolo("run", "sums.yaml", *words, "whole")
    studiolo("bless", "whole", "--as", "main")
    studiolo("run", "sums.yaml", *words, "part", "--set", "limits.tokens=20", "--no-cache")
    failed = studiolo("gate", "part")
    assert failed.exit_code == 3
    assert "- run 'part' has not finished: it is PAUSED" in failed.stdout
    (tmp_path / "sums.yaml").write_text(TASK.replace("exact, ", ""))
    studiolo("run", "sums.yaml", *words, "less")
    passed = studiolo("gate", "less")
    assert passed.exit_code == 0
    assert "note: exact: the baseline has this metric, the run has not" in passed.stdout
    assert "the baseline has" not in studiolo("gate", "less", "--metric", "within").stdout
