"""Worker processes that die, hang and print: no finished line is lost or run twice, the line that kills is found."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import flows
from flows.results import LOG, read_log
from workspace import Workspace
from workspace.errors import Invalid, Unavailable

FLOW = """\
inputs:
  n: {type: int}
outputs:
  y: {type: int, reference: "${step.output}"}
nodes:
- name: step
  type: python
  source: {type: code, path: step.py}
  inputs: {n: "${inputs.n}"}
"""


@pytest.fixture
def batch(workspace: Workspace, make_flow: Callable[..., Path], tmp_path: Path) -> Callable[..., flows.Finished]:
    """Run `step` over the numbers from 0 on."""

    def run(
        code: str,
        *,
        count: int = 20,
        during: Callable[[int], None] | None = None,
        workers: flows.Crew | None = None,
        **options: Any,
    ) -> flows.Finished:
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(count)))
        folder = make_flow(FLOW, step=code)
        asked = flows.Batch(data=data, **{"name": "numbers"} | options)
        for event in flows.run(workspace, flows.load(folder), asked, workers=workers):
            if during and isinstance(event, flows.LineDone):
                during(event.number)
        assert isinstance(event, flows.Finished)
        return event

    return run


def lines(workspace: Workspace) -> list[flows.LineRecord]:
    return list(flows.lines(workspace.runs.get("numbers")))


def test_a_line_that_ends_its_worker_fails_and_all_others_run_once(
    workspace: Workspace, batch: Callable[..., Any], tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    code = (
        "def step(n: int) -> int:\n    import os, time\n"
        f"    with open({str(calls)!r}, 'a') as file:\n        file.write(f'{{n}}\\n')\n"
        "    if n == 7:\n        os.kill(os.getpid(), 9)\n"
        "    time.sleep(0.05 if n > 15 else 0)\n    return n"
    )
    done = batch(code, count=40)
    assert (done.completed, done.failed) == (39, 1)
    assert "worker process ended with code -9" in (lines(workspace)[7].error or "")
    log = [line.number for line in read_log(workspace.runs.get("numbers").directory / LOG)]
    assert sorted(log) == list(range(40))


def test_a_killed_worker_is_replaced_and_what_it_had_finished_stays(
    workspace: Workspace, batch: Callable[..., Any]
) -> None:
    killed: list[int] = []

    def kill(number: int) -> None:
        if len(killed) < 2 and number >= 10 * (len(killed) + 1):
            worker = psutil.Process().children()[-1]
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    done = batch(
        "def step(n: int) -> int:\n    import time\n    time.sleep(0.01)\n    return n",
        count=60, during=kill, conditions=flows.Conditions(concurrency=2),
    )  # fmt: skip
    assert len(killed) == 2
    assert (done.completed, done.failed) == (60, 0)
    counts = Counter(line.number for line in read_log(workspace.runs.get("numbers").directory / LOG))
    assert set(counts.values()) == {1}


def test_a_worker_that_is_killed_before_its_first_line_is_replaced(batch: Callable[..., Any]) -> None:
    before = set(psutil.Process().children())
    waiting = flows.Crew(2)
    for worker in set(psutil.Process().children()) - before:
        if "flows.worker" in worker.cmdline():
            worker.kill()
            break
    done = batch("def step(n: int) -> int:\n    return n", workers=waiting, conditions=flows.Conditions(workers=2))
    assert (done.completed, done.failed) == (20, 0)


def test_code_that_ends_its_process_when_imported_is_refused_at_once(batch: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="ended with code 3 while it loaded the flow"):
        batch("def step(n: int) -> int:\n    return n\nimport os\nos._exit(3)", count=2000)


def test_a_worker_that_is_killed_while_it_sums_up_is_replaced(
    workspace: Workspace, make_flow: Callable[..., Path], tmp_path: Path
) -> None:
    data, once = tmp_path / "rows.jsonl", tmp_path / "once"
    data.write_text('{"n": 1}\n{"n": 2}\n')
    folder = make_flow(
        FLOW + "- {name: total, type: python, source: {type: code, path: total.py}, aggregation: true,"
        ' inputs: {ys: "${step.output}"}}\n',
        step="def step(n: int) -> int:\n    return n",
        total="def total(ys: list) -> None:\n    import os, pathlib\n    from promptflow.core import log_metric\n"
        f"    if not pathlib.Path({str(once)!r}).exists():\n"
        f"        pathlib.Path({str(once)!r}).touch()\n        os.kill(os.getpid(), 9)\n"
        "    log_metric('total', sum(ys))",
    )
    *_, done = flows.run(workspace, flows.load(folder), flows.Batch(data=data, name="numbers"))
    assert isinstance(done, flows.Finished)
    assert (done.completed, done.metrics, done.problems) == (2, {"total": 3}, ())


def test_a_worker_that_hangs_for_good_is_replaced(
    workspace: Workspace, batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.crew.GRACE", 0.5)
    # Stopped, it can neither answer nor watch its own clock.
    code = (
        "def step(n: int) -> int:\n    import os, time\n    if n == 3:\n        os.kill(os.getpid(), 19)\n"
        "        time.sleep(30)  # a system may take a moment to stop it\n    return n"
    )
    done = batch(code, count=5, conditions=flows.Conditions(line_timeout=0.5))
    assert (done.completed, done.failed) == (4, 1)


def test_several_workers_share_the_lines(workspace: Workspace, batch: Callable[..., Any]) -> None:
    code = "def step(n: int) -> int:\n    import os, time\n    time.sleep(0.01)\n    return os.getpid()"
    done = batch(code, count=400, conditions=flows.Conditions(workers=3, concurrency=4))
    assert done.completed == 400
    assert len({line.outputs["y"] for line in lines(workspace) if line.outputs}) == 3


def test_no_process_is_left_behind(batch: Callable[..., Any]) -> None:
    batch("def step(n: int) -> int:\n    return n", conditions=flows.Conditions(workers=2))
    left = psutil.process_iter(["ppid", "status", "cmdline"])
    mine = [each.info for each in left if each.info["ppid"] == os.getpid() and each.info["status"] != "zombie"]
    assert [each for each in mine if "flows.worker" in (each["cmdline"] or [])] == []


def test_code_that_cannot_be_imported_is_refused_with_its_reason(batch: Callable[..., Any]) -> None:
    with pytest.raises(Invalid, match="No module named 'nowhere'"):
        batch("def step(n: int) -> int:\n    return n\nimport nowhere")


def test_what_the_code_prints_is_kept_and_does_not_disturb(workspace: Workspace, batch: Callable[..., Any]) -> None:
    code = (
        "def step(n: int) -> int:\n    import os\n    print('hello')\n    os.write(1, b'{\"done\": 1}')\n    return n"
    )
    assert batch(code, count=3).completed == 3
    assert (workspace.runs.get("numbers").directory / "worker.log").read_text().count("hello") == 3


def test_the_time_of_the_whole_run_ends_it_and_keeps_what_ended(
    workspace: Workspace, batch: Callable[..., Any]
) -> None:
    code = "def step(n: int) -> int:\n    import time\n    time.sleep(0.2)\n    return n"
    with pytest.raises(Unavailable, match=r"longer than 0\.5 seconds"):
        batch(code, count=1000, timeout=0.5, conditions=flows.Conditions(concurrency=4))
    run = workspace.runs.get("numbers")
    assert run.status == "FAILED"
    assert 0 < len(lines(workspace)) < 1000
    code_again = batch(code.replace("0.2", "0"), count=1000, resume=None, name="again")
    assert code_again.completed == 1000


def test_a_finished_run_is_taken_up_by_a_new_one_that_runs_only_what_failed(
    workspace: Workspace, batch: Callable[..., Any], tmp_path: Path
) -> None:
    flag, calls = tmp_path / "mended", tmp_path / "calls"
    code = (
        "def step(n: int) -> int:\n    import os\n"
        f"    open({str(calls)!r}, 'a').write(f'{{n}}\\n')\n"
        f"    if n % 5 == 0 and not os.path.exists({str(flag)!r}):\n        raise ValueError(n)\n    return n"
    )
    assert batch(code).failed == 4
    flag.touch()
    calls.unlink()
    done = batch(code, resume="numbers", name="second")
    assert (done.completed, done.failed) == (20, 0)
    assert sorted(map(int, calls.read_text().split())) == [0, 5, 10, 15]
    assert workspace.runs.get("second").params["resumed_from"] == workspace.runs.get("numbers").run_id
    assert workspace.runs.get("numbers").metrics["lines.failed"] == 4


def test_memory_does_not_grow_with_the_lines(batch: Callable[..., Any]) -> None:
    largest: list[int] = []

    def watch(number: int) -> None:
        if number % 500 == 0:
            family = [psutil.Process(), *psutil.Process().children()]
            largest.append(sum(each.memory_info().rss for each in family))

    batch("def step(n: int) -> int:\n    return n", count=12_000, during=watch)
    assert max(largest[12:]) - max(largest[:12]) < 20 << 20


def test_lines_are_told_of_within_moments(batch: Callable[..., Any]) -> None:
    seen: list[float] = []
    code = "def step(n: int) -> int:\n    import time\n    time.sleep(0.3 * (n % 2))\n    return n"
    batch(code, count=2, during=lambda _: seen.append(time.monotonic()))
    assert seen[1] - seen[0] > 0.2
