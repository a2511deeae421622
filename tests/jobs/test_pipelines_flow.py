"""Control flow in pipelines: decisions, loops until something holds, loops over items."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.jobs.pipelines import ENVIRONMENT, Run, log_of, output, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.home import Workspace


@pytest.fixture(autouse=True)
def components(tmp_path: Path) -> None:
    """A component that says whether its number is small, one that counts up, one that repeats a word."""
    (tmp_path / "check.yml").write_text(
        f"name: check\ntype: command\n{ENVIRONMENT}inputs: {{n: {{type: integer}}}}\n"
        "outputs: {small: {type: boolean, is_control: true}}\n"
        "command: test ${{inputs.n}} -lt 10 && echo true > ${{outputs.small}} || echo false > ${{outputs.small}}\n"
    )
    (tmp_path / "count.yml").write_text(
        f"name: count\ntype: command\n{ENVIRONMENT}"
        "inputs: {n: {type: integer}, log: {type: uri_folder, optional: true}}\n"
        "outputs: {next: {type: integer}, again: {type: boolean, is_control: true}, log: {type: uri_folder}}\n"
        "command: >-\n"
        "  echo $(( ${{inputs.n}} + 1 )) > ${{outputs.next}};"
        "  test ${{inputs.n}} -lt 2 && echo True > ${{outputs.again}} || echo False > ${{outputs.again}};"
        "  $[[cp ${{inputs.log}}/* ${{outputs.log}};]] touch ${{outputs.log}}/${{inputs.n}}\n"
    )
    (tmp_path / "repeat.yml").write_text(
        f"name: repeat\ntype: command\n{ENVIRONMENT}inputs: {{word: {{type: string}}, end: {{type: string}}}}\n"
        "outputs: {said: {type: uri_folder}, size: {type: integer}}\n"
        "command: >-\n  test ${{inputs.word}} != bad && echo ${{inputs.word}}${{inputs.end}} > ${{outputs.said}}/w;"
        " test ${{inputs.word}} != bad && echo 7 > ${{outputs.size}}\n"
    )


@pytest.mark.parametrize(("n", "ran"), [(3, "yes"), pytest.param(30, "no", marks=pytest.mark.slow)])
def test_a_decision_runs_one_side_and_what_follows_it(
    workspace: Workspace, run_pipeline: Run, n: int, ran: str
) -> None:
    run_pipeline(f"""
type: pipeline
name: fork
jobs:
  check: {{type: command, component: check.yml, inputs: {{n: {n}}}}}
  fork:
    type: if_else
    condition: ${{{{parent.jobs.check.outputs.small}}}}
    true_block: ${{{{parent.jobs.yes}}}}
    false_block: ${{{{parent.jobs.no}}}}
  yes: {{command: "echo y > ${{{{outputs.o}}}}/y", outputs: {{o: {{}}}}}}
  no: {{command: "echo n > ${{{{outputs.o}}}}/n", outputs: {{o: {{}}}}}}
  after_yes: {{command: "true", inputs: {{o: "${{{{parent.jobs.yes.outputs.o}}}}"}}}}
""")
    expected = {"check", "yes", "after_yes"} if ran == "yes" else {"check", "no"}
    assert statuses(workspace, "fork") == dict.fromkeys(expected, "Completed")
    other = "no" if ran == "yes" else "yes"
    assert f"step '{other}' does not run: 'fork' decided so" in log_of(workspace, "fork")


def test_a_loop_goes_on_while_its_output_says_so_with_outputs_as_inputs_of_the_next_turn(
    workspace: Workspace, run_pipeline: Run
) -> None:
    run_pipeline("""
type: pipeline
name: looped
outputs: {log: {}}
jobs:
  count:
    type: command
    component: count.yml
    inputs: {n: 0}
    outputs: {log: "${{parent.outputs.log}}"}
  loop:
    type: do_while
    body: ${{parent.jobs.count}}
    condition: ${{parent.jobs.count.outputs.again}}
    mapping: {next: n, log: [log]}
    limits: {max_iteration_count: 10}
  after: {command: "echo at ${{inputs.n}}", inputs: {n: "${{parent.jobs.count.outputs.next}}"}}
""")
    assert statuses(workspace, "looped") == dict.fromkeys(["count.0", "count.1", "count.2", "after"], "Completed")
    assert log_of(workspace, "looped_after") == "at 3\n"
    assert [output(workspace, "looped", "log", str(n)) for n in range(3)] == ["", "", ""]


@pytest.mark.slow
def test_a_loop_ends_at_its_limit(workspace: Workspace, run_pipeline: Run) -> None:
    run_pipeline("""
type: pipeline
name: limited
jobs:
  count: {type: command, component: count.yml, inputs: {n: -9}}
  loop:
    type: do_while
    body: ${{parent.jobs.count}}
    condition: ${{parent.jobs.count.outputs.again}}
    mapping: {next: n}
    limits: {max_iteration_count: 2}
""")
    assert statuses(workspace, "limited") == dict.fromkeys(["count.0", "count.1"], "Completed")


@pytest.mark.parametrize("items", ["list", pytest.param("text", marks=pytest.mark.slow), "step"])
def test_a_step_runs_for_each_item_and_what_they_leave_is_gathered(
    workspace: Workspace, run_pipeline: Run, items: str
) -> None:
    rows = [{"word": "a"}, {"word": "b"}, {"word": "c"}]
    written = {
        "list": json.dumps(rows),
        "text": "${{parent.inputs.rows}}",
        "step": "${{parent.jobs.list.outputs.rows}}",
    }[items]
    run_pipeline(f"""
type: pipeline
name: each
inputs: {{rows: '{json.dumps(rows)}'}}
outputs: {{all: {{}}}}
jobs:
  list: {{command: 'echo ''{json.dumps(rows)}'' > ${{{{outputs.rows}}}}/rows.json', outputs: {{rows: {{}}}}}}
  repeat: {{type: command, component: repeat.yml, inputs: {{end: "!"}}}}
  each:
    type: parallel_for
    body: ${{{{parent.jobs.repeat}}}}
    items: {written if items == "list" else json.dumps(written)}
    max_concurrency: 2
    outputs: {{said: "${{{{parent.outputs.all}}}}"}}
  sizes: {{command: "cat ${{{{inputs.sizes}}}}", inputs: {{sizes: "${{{{parent.jobs.each.outputs.size}}}}"}}}}
""")
    found = [output(workspace, "each", "all", f"{number}/w") for number in range(3)]
    assert found == ["a!\n", "b!\n", "c!\n"]
    assert {"repeat.0", "repeat.1", "repeat.2"} < set(statuses(workspace, "each"))
    assert log_of(workspace, "each_sizes") == "[7, 7, 7]"


def test_an_item_that_fails_fails_the_loop_and_is_told_by_its_number(workspace: Workspace, run_pipeline: Run) -> None:
    job = run_pipeline(
        """
type: pipeline
name: one_bad
jobs:
  repeat: {type: command, component: repeat.yml, inputs: {end: "!"}}
  each:
    type: parallel_for
    body: ${{parent.jobs.repeat}}
    items: [{word: good}, {word: bad}]
""",
        status="Failed",
    )
    assert job.error is not None
    assert "step 'each' failed: item 1: exit code 1" in job.error
