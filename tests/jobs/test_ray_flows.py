"""Lines of flows that run on a Ray cluster: one run log, resume and aggregation here, as without a cluster."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.batch import Finished, lines
from jobs.ray.cluster import Cluster
from jobs.ray.flow_workers import flow_workers
from studiolo import flow_batches
from studiolo.flow_batches import Asked
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

FLOW = """
inputs: {text: {type: string}}
outputs: {answer: {type: object, reference: "${where.output}"}}
nodes:
- {name: where, type: python, source: {type: code, path: where.py}, inputs: {text: "${inputs.text}"}}
- {name: many, type: python, source: {type: code, path: many.py}, inputs: {all: "${where.output}"}, aggregation: true}
"""
WHERE = """
import os
from promptflow.core import tool
@tool
def where(text: str):
    if text == "ends" and not os.path.exists("mended"):
        os._exit(3)
    return {"pid": os.getpid(), "below": open(f"/proc/{os.getppid()}/cmdline").read().split("\\0")[0]}
"""
MANY = """
import os
from promptflow.core import log_metric, tool
@tool
def many(all: list):
    log_metric("workers", len({each["pid"] for each in all}))
    log_metric("here", "ray" not in open(f"/proc/{os.getppid()}/cmdline").read().split("\\0")[0])
    return len(all)
"""


@pytest.fixture
def workspace(tmp_path: Path, ray_head: Cluster) -> Iterator[Workspace]:
    home = tmp_path / "home"
    (home / "ray").mkdir(parents=True)
    (home / "ray" / "cluster.json").write_text(json.dumps(asdict(ray_head)))  # as `studiolo cluster up` leaves it
    with Workspace.open(settings=Settings(home=home)) as opened:
        yield opened


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    folder = tmp_path / "flow"
    folder.mkdir()
    for name, text in {"flow.dag.yaml": FLOW, "where.py": WHERE, "many.py": MANY}.items():
        (folder / name).write_text(text)
    return folder


def data(folder: Path, *texts: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def finished(workspace: Workspace, asked: Asked) -> Finished:
    *_, last = flow_batches.run(workspace, asked)
    assert isinstance(last, Finished)
    return last


def test_lines_run_on_the_cluster_and_what_aggregates_runs_here(
    workspace: Workspace, flow: Path, tmp_path: Path
) -> None:
    rows = data(tmp_path, *[str(number) for number in range(60)])
    ended = finished(workspace, Asked(flow=str(flow), data=rows, compute="ray", workers=2))
    assert (ended.completed, ended.failed, ended.problems) == (60, 0, ())
    assert ended.metrics == {"workers": 2.0, "here": 1.0}
    found = list(lines(workspace.runs.get(ended.run_id)))
    assert [line.number for line in found] == list(range(60))
    assert {line.outputs["answer"]["below"].partition(".")[0] for line in found if line.outputs} == {"ray::Seat"}


def test_a_line_that_ends_its_worker_fails_alone_and_a_resumed_run_does_the_rest(
    workspace: Workspace, flow: Path, tmp_path: Path
) -> None:
    rows = data(tmp_path, "a", "ends", "b")
    asked = Asked(flow=str(flow), data=rows, compute="ray", workers=1, name="first")
    ended = finished(workspace, asked)
    assert (ended.completed, ended.failed) == (2, 1)
    failed = [line for line in lines(workspace.runs.get("first")) if line.status == "Failed"]
    assert [(line.number, line.error) for line in failed] == [
        (1, "the worker process ended with code 3 while it ran this line")
    ]
    before = {line.number: line.outputs for line in lines(workspace.runs.get("first")) if line.outputs}
    again = finished(workspace, Asked(flow=str(flow), data=rows, compute="ray", resume="first", name="second"))
    assert (again.completed, again.failed) == (2, 1)
    kept = {line.number: line.outputs for line in lines(workspace.runs.get("second")) if line.outputs}
    assert kept == before


def test_no_more_of_our_environment_leaves_than_the_flow_names(
    workspace: Workspace, flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CANARY_OF_OURS", "NAMED_BY_A_FILE", "OPENAI_API_KEY", "STUDIOLO_DATABASE_URL", "SAID_BY_THE_RUN"):
        monkeypatch.setenv(name, f"ours {name}")
    (flow / "ask.prompty").write_text("---\nmodel: {configuration: {api_key: '${env:NAMED_BY_A_FILE}'}}\n---\nuser:\n")
    tool = "import os\nfrom promptflow.core import tool\n@tool\ndef where(text: str):\n"
    (flow / "where.py").write_text(tool + "    return {'pid': '1'} | dict(os.environ)\n")
    said = {"SAID_BY_THE_RUN": "told"}
    asked = Asked(flow=str(flow), data=data(tmp_path, "a"), compute="ray", workers=1, environment=said)
    ended = finished(workspace, asked)
    assert (ended.completed, ended.problems) == (1, ())
    ((line,),) = [list(lines(workspace.runs.get(ended.run_id)))]
    assert line.outputs
    found = line.outputs["answer"]
    assert {name: value for name, value in found.items() if "ours" in value or value == "told"} == {
        "NAMED_BY_A_FILE": "ours NAMED_BY_A_FILE", "OPENAI_API_KEY": "ours OPENAI_API_KEY", "SAID_BY_THE_RUN": "told",
    }  # fmt: skip
    assert found["STUDIOLO_HOME"] == str(workspace.home)


def test_a_cluster_that_does_not_see_the_flow_is_refused(workspace: Workspace, ray_head: Cluster) -> None:
    with (
        pytest.raises(Invalid, match="does not see the files"),
        flow_workers(workspace.settings, f"{ray_head.url}?files=upload", workspace.home),
    ):
        pass


def test_without_a_cluster_nothing_of_ray_is_imported(workspace: Workspace, flow: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from studiolo import flow_batches; from workspace.home import Workspace;"
        "from workspace.settings import Settings\n"
        f"with Workspace.open(settings=Settings(home=Path({str(workspace.home)!r}))) as opened:\n"
        f"    asked = flow_batches.Asked(flow={str(flow)!r}, data=Path({str(data(tmp_path, 'a'))!r}))\n"
        "    list(flow_batches.run(opened, asked))\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'ray' or name == 'jobs.ray.flow_workers'])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_who_is_hired_when_nobody_speaks_to_the_cluster_any_more_is_gone(workspace: Workspace) -> None:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with flow_workers(workspace.settings, "ray", workspace.home) as away:
        (relay,) = [each for each in psutil.Process().children() if "relay.py" in " ".join(each.cmdline())]
        relay.kill()
        first = away.hire(inbox)
        assert inbox.get(timeout=30) == (first, None)
        second = away.hire(inbox)
        assert inbox.get(timeout=30) == (second, None)
