from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals import runner, samples, scorers
from evals.cache import Cache
from evals.runner import Asked, Finished
from evals.samples import Sample
from evals.scorers.applied import Applied
from evals.targets.endpoint import Endpoint, Patience
from evals.tasks import Limits, Task
from tests.evals.answering import Behaviour, Reply, Server, answering, doubled
from workspace import Workspace
from workspace.errors import Conflict, Invalid, Unavailable

EXACT = (Applied("exact", scorers.get("exact"), quick=True),)
QUICKLY = Patience(first=0.01)


def sums(count: int, **more: Any) -> Task:
    rows = [{"id": f"r{n}", "q": f"{n}+{n}=", "expected": str(2 * n)} for n in range(count)]
    given: dict[str, Any] = {"prompt": "{{q}}", "mapping": {"q": "${data.q}"}, "scorers": ("exact",), "concurrency": 8}
    return Task(name="sums", data=rows, **(given | more))


def finished(
    workspace: Workspace,
    task: Task,
    server: Server | str,
    *,
    applied: Sequence[Applied] = EXACT,
    asked: Asked | None = None,
    **of_target: Any,
) -> Finished:
    url = server if isinstance(server, str) else server.url
    given: dict[str, Any] = {"patience": QUICKLY, "concurrency": task.concurrency, "generate": task.generate}
    target = Endpoint(base_url=url, model="m", **(given | of_target))
    *_, last = runner.run(workspace, task, target, applied, asked or Asked())
    assert isinstance(last, Finished)
    return last


def logged(workspace: Workspace, run: Finished) -> tuple[Sample, ...]:
    return samples.read(workspace.runs.get(run.run_id).directory)


def first(number: int, then: Reply) -> Behaviour:
    return lambda count, body: then if count < number else doubled(count, body)


def test_every_row_is_asked_once_scored_and_kept(workspace: Workspace) -> None:
    with answering() as server:
        run = finished(workspace, sums(50), server)
    assert (run.samples, run.errors, run.metrics[0].interval.estimate) == (50, 0, 1.0)
    assert len(server.asked) == 50
    record = workspace.runs.get(run.run_id)
    assert (record.status, record.metrics["exact"], record.metrics["tokens.prompt"]) == ("FINISHED", 1.0, 250.0)
    kept = logged(workspace, run)[7]
    assert (kept.name, kept.answer, kept.tokens, kept.model) == ("r7", "14", (5, 1), "mock")
    assert kept.asked == [{"role": "user", "content": "7+7="}]


def test_repeats_have_numbers_and_seeds_of_their_own(workspace: Workspace) -> None:
    with answering() as server:
        run = finished(workspace, sums(3, epochs=2, reduce=("mean", "pass@2"), seed=40), server)
    assert sorted(body["seed"] for body in server.asked) == [40, 40, 40, 41, 41, 41]
    assert [(each.number, each.epoch) for each in logged(workspace, run)] == [*itertools.product(range(3), (1, 2))]
    assert [metric.name for metric in run.metrics] == ["exact", "exact pass@2"]


def test_a_busy_server_is_asked_again_when_it_says_and_less_at_once(workspace: Workspace) -> None:
    with answering(first(12, Reply(status=429, headers={"retry-after": "0.05"}))) as server:
        run = finished(workspace, sums(30), server)
    assert (run.samples, run.errors) == (30, 0)
    assert len(server.asked) == 42


def test_errors_of_the_server_are_tried_again_and_at_last_errors_of_the_sample(workspace: Workspace) -> None:
    def behave(count: int, body: dict[str, Any]) -> Reply:
        broken = body["messages"][-1]["content"] == "3+3="
        return Reply(status=500, raw=b'{"error": {"message": "out of memory"}}') if broken else doubled(count, body)

    with answering(behave) as server:
        run = finished(workspace, sums(10), server)
    kept = logged(workspace, run)[3]
    assert kept.error == "the endpoint answered 500: out of memory"
    assert (run.errors, run.metrics[0].rows, run.metrics[0].interval.estimate) == (1, 9, 1.0)
    assert len(server.asked) == 9 + QUICKLY.tries


@pytest.mark.parametrize("raw", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": {}}]}', b"\xff\xfe"])
def test_garbage_is_an_error_and_no_wrong_answer(workspace: Workspace, raw: bytes) -> None:
    with answering(lambda *_: Reply(raw=raw)) as server:
        run = finished(workspace, sums(2), server)
    assert "what no OpenAI server does" in str(logged(workspace, run)[0].error)
    assert (run.errors, run.metrics) == (2, ())
    assert workspace.runs.get(run.run_id).status == "FAILED"


def test_a_server_that_hangs_costs_its_time_and_no_more(workspace: Workspace) -> None:
    over = threading.Event()

    def behave(count: int, body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["content"] == "1+1=":
            over.wait(10)
        return doubled(count, body)

    began = time.monotonic()
    with answering(behave) as server:
        run = finished(workspace, sums(5), server, timeout=0.2)
        over.set()
    assert logged(workspace, run)[1].error == "no answer within 0.2 seconds"
    assert run.errors == 1
    assert time.monotonic() - began < 5


def test_connections_that_break_off_are_made_anew(workspace: Workspace) -> None:
    with answering(lambda count, body: Reply(drop=True) if count % 5 == 4 else doubled(count, body)) as server:
        run = finished(workspace, sums(40), server)
    assert (run.samples, run.errors) == (40, 0)


def test_a_server_that_is_gone_pauses_the_run_and_its_return_ends_it(workspace: Workspace) -> None:
    task = sums(60, concurrency=4)
    with answering(lambda count, body: Reply(drop=True) if count >= 20 else doubled(count, body)) as server:
        run = finished(workspace, task, server)
        assert run.reason is not None
        assert run.samples < 60
        record = workspace.runs.get(run.run_id)
        assert record.status == "PAUSED"
    with answering() as back, pytest.raises(Conflict, match="the target of run"):  # another address is another target
        finished(workspace, task, back, asked=Asked(resume=run.run_id))


def test_what_nobody_has_answered_is_asked_when_the_run_goes_on(workspace: Workspace) -> None:
    with answering(lambda *_: Reply(drop=True)) as nobody:
        paused = finished(workspace, sums(4), nobody)
    assert (paused.samples, paused.errors) == (0, 0)
    assert "nobody answers" in str(paused.reason)
    with answering() as somebody:  # nothing was measured yet, so that it may be another target
        run = finished(workspace, sums(4), somebody, asked=Asked(resume=paused.name))
    assert (run.run_id, run.samples, run.errors, run.reason) == (paused.run_id, 4, 0, None)


def test_a_paused_run_goes_on_and_asks_what_is_missing_and_what_failed(workspace: Workspace) -> None:
    gone = threading.Event()
    gone.set()
    task = sums(40, concurrency=4)
    with answering(
        lambda count, body: Reply(drop=True) if gone.is_set() and count >= 20 else doubled(count, body)
    ) as server:
        paused = finished(workspace, task, server)
        gone.clear()
        asked = len(server.asked)
        run = finished(workspace, task, server, asked=Asked(resume=paused.name, retry_errors=True))
    assert (run.run_id, run.samples, run.errors, run.reason) == (paused.run_id, 40, 0, None)
    good = paused.samples - paused.errors
    assert len(server.asked) - asked == 40 - good
    assert workspace.runs.get(run.run_id).status == "FINISHED"


def test_errors_of_a_finished_run_are_asked_again_in_a_new_one(workspace: Workspace) -> None:
    with answering(lambda count, body: Reply(status=400) if count == 0 else doubled(count, body)) as server:
        before = finished(workspace, sums(5), server)
        assert before.errors == 1
        with pytest.raises(Conflict, match="has finished"):
            finished(workspace, sums(5), server, asked=Asked(resume=before.name))
        after = finished(workspace, sums(5), server, asked=Asked(resume=before.name, retry_errors=True))
    assert after.run_id != before.run_id
    assert (after.samples, after.errors, len(server.asked)) == (5, 0, 6)


def test_changed_data_and_a_changed_task_are_refused(workspace: Workspace) -> None:
    with answering(lambda *_: Reply(drop=True)) as server:
        run = finished(workspace, sums(30), server)
        with pytest.raises(Conflict, match="the data changed"):
            finished(workspace, sums(31), server, asked=Asked(resume=run.name))
        with pytest.raises(Conflict, match="the task changed"):
            finished(workspace, sums(30, prompt="{{q}} "), server, asked=Asked(resume=run.name))


def test_an_id_that_two_rows_have_is_refused(workspace: Workspace) -> None:
    task = Task(name="twins", data=[{"id": "a", "q": "1"}, {"id": "a", "q": "2"}], scorers=("exact",))
    with pytest.raises(Invalid, match="rows 1 and 2 have the id 'a'"):
        finished(workspace, task, "http://127.0.0.1:9/v1")


def test_rows_without_ids_are_told_apart_by_their_place(workspace: Workspace) -> None:
    task = Task(name="bare", data=[{"q": "1+1="}, {"q": "1+1="}], prompt="{{q}}", scorers=("exact",))
    with answering() as server:
        run = finished(workspace, task, server)
    assert [each.label for each in logged(workspace, run)] == ["row 1", "row 2"]


def test_a_scorer_that_raises_is_an_error_of_its_score(workspace: Workspace) -> None:
    def raising(sample: Sample) -> samples.Score:
        raise ZeroDivisionError(sample.name)

    with answering() as server:
        run = finished(workspace, sums(3), server, applied=(*EXACT, Applied("raising", raising)))
    assert logged(workspace, run)[0].scores["raising"].error == "the scorer failed: ZeroDivisionError: r0"
    assert logged(workspace, run)[0].scores["exact"].value == 1.0


def test_a_scorer_that_never_ends_ends_nothing_else(workspace: Workspace) -> None:
    over = threading.Event()

    def endless(sample: Sample) -> samples.Score:
        if sample.name == "r1":
            over.wait(20)
        return samples.Score(value=1.0)

    began = time.monotonic()
    with answering() as server:
        task = sums(6, concurrency=2, limits=Limits(scorer_seconds=0.2))
        run = finished(workspace, task, server, applied=(Applied("endless", endless),))
    over.set()
    assert logged(workspace, run)[1].scores["endless"].error == "the scorer took longer than 0.2 seconds"
    assert (run.samples, run.errors, run.metrics[0].rows) == (6, 1, 5)
    assert time.monotonic() - began < 5


def test_kept_answers_are_not_asked_again_but_repeats_are(workspace: Workspace) -> None:
    with answering() as server:
        for task in (sums(5), sums(5), sums(5, epochs=2)):
            cache = Cache(workspace.home)
            finished(workspace, task, server, cache=cache)
            cache.close()
        once = len(server.asked)
        assert once == 5 + 0 + 10  # with repeats each request has a seed, so that none of it is as before
        cache = Cache(workspace.home)
        run = finished(workspace, sums(5, generate={"temperature": 0.5}), server, cache=cache)
        cache.close()
    assert len(server.asked) == once + 5
    assert run.samples == 5


def test_a_limit_of_tokens_pauses_the_run(workspace: Workspace) -> None:
    with answering() as server:
        run = finished(workspace, sums(50, concurrency=1, limits=Limits(tokens=60)), server)
    assert (run.samples, run.reason) == (10, "the limit of 60 tokens is reached")
    assert workspace.runs.get(run.run_id).status == "PAUSED"


def test_a_full_disk_stops_the_run_with_whole_lines(workspace: Workspace) -> None:
    task = sums(400)
    task = replace(task, data=[{**row, "note": "x" * 20_000} for row in task.data if isinstance(row, dict)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with answering() as server:
        target = Endpoint(base_url=server.url, model="m", patience=QUICKLY)
        events = runner.run(workspace, task, target, EXACT, Asked(name="full"))
        next(events)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
        try:
            with pytest.raises(Unavailable, match="cannot be written"):
                list(events)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        kept = samples.read(workspace.runs.get("full").directory)
        assert 10 < len(kept) < 400
        run = finished(workspace, task, server, asked=Asked(resume="full"))
    assert (run.samples, run.errors) == (400, 0)


ROUND = """
import sys
from pathlib import Path
from tests.evals.test_runner import EXACT, QUICKLY, sums
from evals import runner
from evals.targets.endpoint import Endpoint
from workspace import Workspace
with Workspace.open(Path(sys.argv[1])) as workspace:
    resume = sys.argv[4] if len(sys.argv) > 4 else None
    target = Endpoint(base_url=sys.argv[2], model="m", patience=QUICKLY, concurrency=4)
    asked = runner.Asked(name=None if resume else "killed", resume=resume)
    for event in runner.run(workspace, sums(int(sys.argv[3]), concurrency=4), target, EXACT, asked):
        print(type(event).__name__, flush=True)
"""


def killed(workspace: Workspace, rounds: int, *, rows: int) -> None:
    def slowly(count: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.005)
        return doubled(count, body)

    with answering(slowly) as server:
        for number in range(rounds):
            command = [sys.executable, "-c", ROUND, str(workspace.home), server.url, str(rows)] + ["killed"] * (
                number > 0
            )
            process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
            assert process.stdout is not None
            while (line := process.stdout.readline()) and line != b"Scored\n":
                pass
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            assert len(samples.read(workspace.runs.get("killed").directory)) < rows
        run = finished(workspace, sums(rows, concurrency=4), server, asked=Asked(resume="killed"))
    kept = logged(workspace, run)
    assert [each.number for each in kept] == [*range(rows)]
    assert all(each.scores["exact"].value == 1.0 for each in kept)
    lines = (workspace.runs.get(run.run_id).directory / samples.LOG).read_bytes().splitlines()
    assert len(lines) == rows  # no sample is counted twice
    assert len({json.loads(line)["number"] for line in lines}) == rows


def test_killed_at_any_moment_nothing_is_lost_or_counted_twice(workspace: Workspace) -> None:
    killed(workspace, 5, rows=600)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_a_hundred_times(workspace: Workspace) -> None:
    killed(workspace, 100, rows=20_000)


def test_an_interrupt_pauses_the_run(workspace: Workspace) -> None:
    def slowly(count: int, body: dict[str, Any]) -> Reply:
        if count == 20:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.002)
        return doubled(count, body)

    with answering(slowly) as server:
        paused = finished(workspace, sums(100), server)
        assert paused.reason == "interrupted"
        assert workspace.runs.get(paused.run_id).status == "PAUSED"
        run = finished(workspace, sums(100), server, asked=Asked(resume=paused.name))
    assert (run.samples, run.errors) == (100, 0)


def test_lineage_leads_from_the_data_to_the_run(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "1+1=", "expected": "2"}\n')
    with answering() as server:
        run = finished(workspace, replace(sums(1), data="rows.jsonl", folder=tmp_path), server)
    sources = [edge.source for edge in workspace.lineage.upstream(workspace.runs.get(run.run_id), depth=1)]
    assert sources == ["data:rows:1"]
