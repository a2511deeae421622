"""Pipelines that run: what steps are given, what they leave, what becomes of a pipeline whose steps fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import assets, records
from jobs.assets import components
from jobs.files import read_component
from jobs.submit import cancel, wait
from tests.jobs.conftest import LONG, until
from tests.jobs.pipelines import ENVIRONMENT, Run, log_of, output, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

CHAIN = """
type: pipeline
name: chain
inputs:
  word: hello
  rows: {type: uri_file, path: rows.txt}
outputs:
  result: {type: uri_folder, name: answer, version: 5}
jobs:
  say:
    command: echo ${{inputs.word}} $(wc -l < ${{inputs.rows}}) > ${{outputs.said}}/a.txt
    inputs:
      word: ${{parent.inputs.word}}
      rows: ${{parent.inputs.rows}}
    outputs:
      said: {}
  shout:
    command: tr a-z A-Z < ${{inputs.said}}/a.txt > ${{outputs.loud}}/b.txt
    inputs:
      said: ${{parent.jobs.say.outputs.said}}
    outputs:
      loud: ${{parent.outputs.result}}
"""


def test_steps_take_each_others_outputs_and_the_pipeline_gives_its_own(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "rows.txt").write_text("a\nb\n")
    job = run_pipeline(CHAIN)
    assert (job.status, job.error, job.kind) == ("Completed", None, "pipeline")
    assert statuses(workspace, "chain") == {"say": "Completed", "shout": "Completed"}
    path = workspace.assets.path(workspace.assets.get("data", "answer:5"))
    assert (path / "b.txt").read_text() == "HELLO 2\n"
    assert output(workspace, "chain", "result", "b.txt") == "HELLO 2\n"
    assert (workspace.assets.path(workspace.assets.get("data", "chain_say-said")) / "a.txt").read_text() == "hello 2\n"


def test_a_component_file_brings_its_defaults_its_types_and_its_optional_blocks(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/show.sh").write_text("echo $@ > $OUT\n")
    (tmp_path / "show.yml").write_text(
        "name: show\ntype: command\ncode: src\n" + ENVIRONMENT + "inputs:\n"
        "  count: {type: integer, default: 3}\n  flag: {type: boolean}\n"
        "  rate: {type: number, optional: true}\n  note: {type: string, optional: true}\n"
        "outputs:\n  said: {type: uri_file}\n"
        "command: >-\n  OUT=${{outputs.said}} bash show.sh --count ${{inputs.count}} --flag ${{inputs.flag}}"
        " $[[--rate ${{inputs.rate}}]] $[[--note ${{inputs.note}}]]\n"
    )
    run_pipeline("""
type: pipeline
name: shown
inputs: {rate: 0.5}
outputs: {all: {type: uri_file}}
jobs:
  one:
    component: show.yml
    inputs: {flag: "true", rate: "${{parent.inputs.rate}}"}
    outputs: {said: "${{parent.outputs.all}}"}
""")
    assert output(workspace, "shown", "all") == "--count 3 --flag True --rate 0.5\n"


def test_a_failing_step_is_told_by_name_and_others_go_on(workspace: Workspace, run_pipeline: Run) -> None:
    job = run_pipeline(
        """
type: pipeline
name: half
jobs:
  bad: {command: "echo no > ${{outputs.x}}/x; exit 3", outputs: {x: {}}}
  after: {command: "cat ${{inputs.x}}/x", inputs: {x: "${{parent.jobs.bad.outputs.x}}"}}
  other: {command: sleep 0.3}
""",
        status="Failed",
    )
    assert job.error == "step 'bad' failed: exit code 3; studiolo job stream half_bad"
    assert statuses(workspace, "half") == {"bad": "Failed", "other": "Completed"}
    assert "step 'after' does not run: step 'bad' failed" in log_of(workspace, "half")


def test_without_continue_on_step_failure_running_steps_are_ended(workspace: Workspace, run_pipeline: Run) -> None:
    run_pipeline(
        """
type: pipeline
name: strict
settings: {continue_on_step_failure: false}
jobs:
  slow: {command: sleep 100}
  bad: {command: "sleep 0.3; exit 3"}
""",
        status="Failed",
    )
    assert statuses(workspace, "strict") == {"bad": "Failed", "slow": "Canceled"}


def test_literals_inputs_of_other_steps_and_texts_around_expressions(workspace: Workspace, run_pipeline: Run) -> None:
    run_pipeline("""
type: pipeline
name: texts
inputs: {who: ada, count: 2}
jobs:
  first:
    command: echo "${{inputs.text}}"
    inputs: {text: "for ${{parent.inputs.who}}, ${{parent.inputs.count}} times"}
  second:
    command: echo "${{inputs.again}} and $SECRET"
    inputs: {again: "${{parent.jobs.first.inputs.text}}"}
    environment_variables: {SECRET: "${{parent.inputs.who}}"}
""")
    assert log_of(workspace, "texts_second") == "for ada, 2 times and ada\n"


@pytest.mark.slow
def test_groups_are_given_whole_or_by_member(workspace: Workspace, run_pipeline: Run, tmp_path: Path) -> None:
    (tmp_path / "part.yml").write_text(
        "name: part\ntype: command\n" + ENVIRONMENT + "inputs:\n  g.a: {type: integer}\n  g.b: {type: string}\n"
        "command: echo ${{inputs.g.a}} ${{inputs.g.b}}\n"
    )
    run_pipeline("""
type: pipeline
name: groups
inputs: {h.a: 1, h.b: x}
jobs:
  whole: {type: command, component: part.yml, inputs: {g: "${{parent.inputs.h}}"}}
  members: {type: command, component: part.yml, inputs: {g.a: "${{parent.inputs.h.a}}", g.b: y}}
""")
    assert (log_of(workspace, "groups_whole"), log_of(workspace, "groups_members")) == ("1 x\n", "1 y\n")


def test_a_pipeline_in_a_pipeline_is_a_job_with_steps_of_its_own(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "inner.yml").write_text("""
name: inner
type: pipeline
inputs: {rows: {type: uri_folder}, times: {type: integer, default: 2}}
outputs: {twice: {type: uri_folder}}
jobs:
  double:
    command: for i in $(seq ${{inputs.times}}); do cat ${{inputs.rows}}/*; done > ${{outputs.out}}/all
    inputs: {rows: "${{parent.inputs.rows}}", times: "${{parent.inputs.times}}"}
    outputs: {out: "${{parent.outputs.twice}}"}
""")
    run_pipeline("""
type: pipeline
name: outer
outputs: {end: {}}
jobs:
  make: {command: "echo row > ${{outputs.rows}}/r", outputs: {rows: {}}}
  nest:
    type: pipeline
    component: inner.yml
    inputs: {rows: "${{parent.jobs.make.outputs.rows}}"}
  last:
    command: cp ${{inputs.twice}}/all ${{outputs.end}}/copy
    inputs: {twice: "${{parent.jobs.nest.outputs.twice}}"}
    outputs: {end: "${{parent.outputs.end}}"}
""")
    assert output(workspace, "outer", "end", "copy") == "row\nrow\n"
    assert records.get(workspace, "outer_nest").kind == "pipeline"
    assert statuses(workspace, "outer_nest") == {"double": "Completed"}


@pytest.mark.slow
def test_a_pipeline_job_of_a_component_runs_it(workspace: Workspace, run_pipeline: Run, tmp_path: Path) -> None:
    (tmp_path / "comp.yml").write_text(
        """
name: comp
type: pipeline
inputs: {word: {type: string, default: abc}}
outputs: {out: {type: uri_file}}
jobs:
  one:
    command: echo ${{inputs.word}} > ${{outputs.o}}
    inputs: {word: "${{parent.inputs.word}}"}
    outputs: {o: {type: uri_file, path: "${{parent.outputs.out}}"}}
""".replace('{type: uri_file, path: "${{parent.outputs.out}}"}', '"${{parent.outputs.out}}"')
    )
    run_pipeline("type: pipeline\nname: of_component\ncomponent: comp.yml\noutputs: {out: {name: said}}\n")
    assert workspace.assets.path(workspace.assets.get("data", "said")).read_text() == "abc\n"


def test_steps_run_at_the_same_time_where_nothing_is_between_them(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    meet = f"touch {tmp_path}/$STUDIOLO_JOB; until test $(ls {tmp_path} | grep -c meet_) = 2; do sleep 0.02; done"
    job = run_pipeline(f"""
type: pipeline
name: meet
jobs:
  one: {{command: "{meet}"}}
  two: {{command: "{meet}"}}
""")
    assert job.status == "Completed"


def test_cancelling_a_pipeline_cancels_the_steps_that_run_and_begins_no_other(
    workspace: Workspace, run_pipeline: Run
) -> None:
    run_pipeline(
        """
type: pipeline
name: ended
jobs:
  slow: {command: "sleep 100", outputs: {x: {}}}
  next: {command: "true", inputs: {x: "${{parent.jobs.slow.outputs.x}}"}}
""",
        waits=False,
    )
    until(lambda: statuses(workspace, "ended") == {"slow": "Running"})
    cancel(workspace, "ended")
    assert wait(workspace, "ended", seconds=LONG).status == "Canceled"
    assert statuses(workspace, "ended") == {"slow": "Canceled"}


@pytest.mark.slow
def test_a_literal_that_a_step_leaves_is_given_to_others_as_a_value(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "count.yml").write_text(
        "name: count\ntype: command\n" + ENVIRONMENT + "outputs:\n  n: {type: integer}\n"
        "command: echo 42 > ${{outputs.n}}\n"
    )
    run_pipeline("""
type: pipeline
name: literal
jobs:
  count: {type: command, component: count.yml}
  show: {command: "echo got ${{inputs.n}}", inputs: {n: "${{parent.jobs.count.outputs.n}}"}}
""")
    assert log_of(workspace, "literal_show") == "got 42\n"


def test_the_first_and_the_last_step_run_first_and_last_also_after_a_failure(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    run_pipeline(
        f"""
type: pipeline
name: framed
settings: {{on_init: begin, on_finalize: finish}}
jobs:
  finish: {{command: "echo finish >> {trace}"}}
  middle: {{command: "echo middle >> {trace}; exit 1"}}
  begin: {{command: "sleep 0.2; echo begin >> {trace}"}}
""",
        status="Failed",
    )
    assert trace.read_text().split() == ["begin", "middle", "finish"]


def test_components_that_are_kept_under_a_name_are_fetched_with_their_code(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/say.sh").write_text("echo first $1\n")
    path = tmp_path / "say.yml"
    path.write_text(
        f"name: say\ntype: command\ncode: src\n{ENVIRONMENT}inputs: {{word: {{type: string}}}}\n"
        "command: bash say.sh ${{inputs.word}}\n"
    )
    components.register(workspace, read_component(path))
    (tmp_path / "src/say.sh").write_text("echo second $1\n")
    components.register(workspace, read_component(path))
    path = tmp_path / "both.yml"
    path.write_text("name: both\ntype: pipeline\njobs:\n  inner: {component: 'azureml:say:1', inputs: {word: in}}\n")
    components.register(workspace, read_component(path))
    run_pipeline("""
type: pipeline
name: named
jobs:
  old: {component: "azureml:say:1", inputs: {word: a}}
  new: {type: command, component: "azureml:say@latest", inputs: {word: b}}
  nest: {component: "azureml:both"}
""")
    found = [log_of(workspace, f"named_{key}") for key in ("old", "new", "nest_inner")]
    assert found == ["first a\n", "second b\n", "first in\n"]


def test_what_a_kept_component_is_given_is_checked_before_anything_runs(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    path = tmp_path / "say.yml"
    path.write_text(
        f"name: say\ntype: command\n{ENVIRONMENT}inputs: {{word: {{type: string}}}}\n"
        "command: echo ${{inputs.word}}\n"
    )
    components.register(workspace, read_component(path))
    with pytest.raises(Invalid, match="say needs the input 'word'"):
        run_pipeline('type: pipeline\njobs:\n  one: {component: "azureml:say:1"}\n')
    with pytest.raises(NotFound):
        run_pipeline('type: pipeline\njobs:\n  one: {component: "azureml:nobody:1"}\n')
    assert records.list_jobs(workspace) == []


def test_a_step_that_cannot_be_run_here_is_refused_before_anything_runs(
    workspace: Workspace, run_pipeline: Run
) -> None:
    shout = {"name": "shout", "type": "command", "command": "echo", "environment": {"image": "ubuntu"}}
    assets.create(workspace, "component", shout)
    with pytest.raises(Invalid, match="is a component of type command"):
        run_pipeline("""
type: pipeline
jobs:
  first: {command: "true"}
  bring: {type: import, component: "azureml:shout:1"}
""")
    assert records.list_jobs(workspace) == []


@pytest.mark.parametrize(
    ("mode", "status"),
    [("merge_with_overwrite", "Completed"), pytest.param("fail_if_conflict", "Failed", marks=pytest.mark.slow)],
)
def test_data_is_copied_from_several_inputs_into_one_output(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path, mode: str, status: str
) -> None:
    for name, files in {"a": {"both": "a", "deep/one": "1"}, "b": {"both": "b", "deep/two": "2"}}.items():
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text)
    run_pipeline(
        f"""
type: pipeline
name: copied
outputs: {{all: {{}}}}
jobs:
  copy:
    type: data_transfer
    task: copy_data
    data_copy_mode: {mode}
    inputs: {{a: {{path: a}}, b: {{path: b}}}}
    outputs: {{o: "${{{{parent.outputs.all}}}}"}}
""",
        status=status,
    )
    if status == "Failed":
        assert log_of(workspace, "copied_copy") == "these are in several inputs:\n./both\n"
    else:
        assert [output(workspace, "copied", "all", name) for name in ("both", "deep/one", "deep/two")] == [
            "b",
            "1",
            "2",
        ]


def test_the_process_of_a_pipeline_imports_nothing_heavy() -> None:
    code = "import sys, jobs.pipelines.process; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "mlflow", "pandas", "numpy", "ray", "optuna", "torch"} & set(found.stdout.split())
