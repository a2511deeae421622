"""Pipelines whose processes are killed mid-way: they go on, no step runs twice, and nothing is left."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs import records
from jobs.create import create
from jobs.files import job_of
from jobs.folders import attempt_folder, outputs_of
from jobs.submit import wait
from tests.jobs.conftest import LONG, until
from tests.jobs.killing import kill
from tests.jobs.pipelines import Run, log_of, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.home import Workspace


@pytest.mark.parametrize("who", ["process", pytest.param("shim", marks=pytest.mark.slow)])
def test_a_pipeline_that_is_killed_mid_way_goes_on_and_runs_no_step_twice(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path, who: str
) -> None:
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    run_pipeline(
        f"""
type: pipeline
name: killed
outputs: {{end: {{}}}}
jobs:
  a: {{command: "echo a >> {trace}; echo 1 > ${{{{outputs.o}}}}/n", outputs: {{o: {{}}}}}}
  b:
    command: >-
      echo b >> {trace}; until test -e {gate}; do sleep 0.05; done; cat ${{{{inputs.a}}}}/n > ${{{{outputs.o}}}}/n
    inputs: {{a: "${{{{parent.jobs.a.outputs.o}}}}"}}
    outputs: {{o: {{}}}}
  c:
    command: "echo c >> {trace}; cat ${{{{inputs.b}}}}/n > ${{{{outputs.o}}}}/n"
    inputs: {{b: "${{{{parent.jobs.b.outputs.o}}}}"}}
    outputs: {{o: "${{{{parent.outputs.end}}}}"}}
""",
        waits=False,
    )
    for attempt in (1, 2):
        until(lambda: statuses(workspace, "killed").get("b") == "Running")
        until(functools.partial(_is_running, workspace, "killed", attempt))
        kill(workspace, "killed", who)
        until(functools.partial(_has_begun, workspace, "killed", attempt + 1))
    gate.touch()
    ended = wait(workspace, "killed", seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 3), log_of(workspace, "killed")
    assert trace.read_text().split() == ["a", "b", "c"]
    assert (outputs_of(workspace.home, "killed") / "end/n").read_text() == "1\n"


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Steps, each a number to add and the earlier steps whose results it adds up."""
    size = draw(st.integers(1, 6))
    return [
        (draw(st.integers(0, 9)), sorted(draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else []))
        for n in range(size)
    ]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=graphs(), order=st.randoms(use_true_random=False))
def test_whatever_the_wires_the_steps_leave_what_one_after_the_other_leaves(
    workspace: Workspace, tmp_path: Path, graph: list[tuple[int, list[int]]], order: object
) -> None:

    def taken(each: int) -> dict[str, str]:
        return {"type": "uri_file", "path": f"${{{{parent.jobs.s{each}.outputs.o}}}}"}

    jobs = {}
    for number, (own, takes) in enumerate(graph):
        terms = " + ".join([str(own), *(f"2 * $(cat ${{{{inputs.i{each}}}}})" for each in takes)])
        jobs[f"s{number}"] = {
            "command": f"echo $(( {terms} )) > ${{{{outputs.o}}}}",
            "inputs": {f"i{each}": taken(each) for each in takes},
            "outputs": {"o": {"type": "uri_file"}},
        }
    keys = list(jobs)
    order.shuffle(keys)  # type: ignore[attr-defined]  # the order in the file says nothing
    read = job_of({"type": "pipeline", "jobs": {key: jobs[key] for key in keys}}, tmp_path)
    ended = wait(workspace, create(workspace, read).name, seconds=LONG)
    assert ended.status == "Completed", log_of(workspace, ended.name)
    expected: list[int] = []
    for own, takes in graph:
        expected.append(own + sum(2 * expected[each] for each in takes))
    found = [int((outputs_of(workspace.home, f"{ended.name}_s{n}") / "o").read_text()) for n in range(len(graph))]
    assert found == expected


def _is_running(workspace: Workspace, name: str, number: int) -> bool:
    return attempt_folder(workspace.home, name, number).running.exists()


def _has_begun(workspace: Workspace, name: str, number: int) -> bool:
    return records.get(workspace, name).attempt == number
