"""One step in the foreground: what it needs is found or made, and a debugger in it has the terminal."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from jobs.files import read_job
from jobs.files.pipeline import PipelineJob
from jobs.pipelines.debug import debug
from tests.jobs.pipelines import ENVIRONMENT, Run
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

TEXT = """
type: pipeline
experiment_name: bugs
inputs: {{word: hi}}
jobs:
  make: {{command: "echo ran >> {trace}; echo row > ${{{{outputs.rows}}}}/r", outputs: {{rows: {{}}}}}}
  use:
    code: src
    command: {command}
    inputs: {{rows: "${{{{parent.jobs.make.outputs.rows}}}}", word: "${{{{parent.inputs.word}}}}"}}
    outputs: {{o: "${{{{parent.outputs.all}}}}"}}
outputs: {{all: {{}}}}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> PipelineJob:
    """A step that needs another, and says what it sees."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/use.py").write_text(
        "import sys\nword = sys.argv[1]\nbreakpoint()\nopen(sys.argv[2], 'w').write(word)\nsys.exit(7)\n"
    )
    command = "cat ${{inputs.rows}}/r; python use.py ${{inputs.word}} ${{outputs.o}}/w"
    path = tmp_path / "pipeline.yml"
    path.write_text(TEXT.format(trace=tmp_path / "trace", command=command))
    job = read_job(path)
    assert isinstance(job, PipelineJob)
    return job


def test_a_step_runs_in_the_foreground_and_its_debugger_hears_the_terminal(
    workspace: Workspace, pipeline: PipelineJob, tmp_path: Path
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        code = (
            "import sys\nfrom pathlib import Path\nfrom jobs.files import read_job\n"
            "from jobs.pipelines.debug import debug\n"
            "from workspace.home import Workspace\n"
            "sys.exit(debug(Workspace.open(Path(sys.argv[1])), read_job(Path(sys.argv[2])), 'use'))\n"
        )
        line = [sys.executable, "-c", code, str(workspace.home), str(tmp_path / "pipeline.yml")]
        os.execv(line[0], line)  # noqa: S606
    os.write(terminal, b"word = word + ' there'\nc\n")
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError:  # the terminal is closed
        pass
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 7, said.decode()
    assert b"row" in said
    assert b"(Pdb)" in said
    (left,) = (workspace.home / "debug").glob("*/outputs/o/w")
    assert left.read_text() == "hi there"
    assert (tmp_path / "trace").read_text() == "ran\n"


def test_what_a_step_needs_is_taken_from_an_earlier_run(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    run_pipeline(TEXT.format(trace=tmp_path / "trace", command="echo early"))
    (tmp_path / "pipeline.yml").write_text(TEXT.format(trace=tmp_path / "trace", command="exit 5"))
    job = read_job(tmp_path / "pipeline.yml")
    assert isinstance(job, PipelineJob)
    assert debug(workspace, job, "use") == 5
    assert (tmp_path / "trace").read_text() == "ran\n"


def test_a_step_that_is_not_there_is_refused(workspace: Workspace, pipeline: PipelineJob) -> None:
    with pytest.raises(NotFound, match="no step 'usee'") as refused:
        debug(workspace, pipeline, "usee")
    assert "use" in str(refused.value.hint)


OUTER = """
type: pipeline
name: outer
inputs: {{word: {{type: string}}}}
jobs:
  make: {{command: "echo ran >> {trace}; echo row > ${{{{outputs.rows}}}}/r", outputs: {{rows: {{}}}}}}
  use:
    command: cat ${{{{inputs.rows}}}}/r; test ${{{{inputs.word}}}} = hi && exit 6
    inputs: {{rows: "${{{{parent.jobs.make.outputs.rows}}}}", word: "${{{{parent.inputs.word}}}}"}}
"""
NESTED = """
type: pipeline
jobs:
  outer: {type: pipeline, component: outer.yml, inputs: {word: hi}}
  search:
    type: sweep
    trial:
      command: exit ${{inputs.code}}
      inputs: {code: {type: integer}}
      ENVIRONMENT
    search_space: {code: {type: choice, values: [4]}}
    sampling_algorithm: grid
    objective: {goal: minimize, primary_metric: loss}
    limits: {max_total_trials: 1}
  count:
    type: parallel
    task:
      {type: run_function, code: src, entry_script: count.py, program_arguments: --more 1,
       ENVIRONMENT}
    inputs: {rows: {type: uri_folder, path: rows}}
    input_data: ${{inputs.rows}}
    mini_batch_size: "2"
  each: {command: "exit ${{inputs.n}}", inputs: {n: 0}}
  loop: {type: parallel_for, body: "${{parent.jobs.each}}", items: [{n: 3}, {n: 2}]}
  spark:
    type: spark
    compute: local
    code: src
    entry: {file: count.py}
    conf: {spark.driver.cores: 1, spark.driver.memory: 1g, spark.executor.cores: 1, spark.executor.memory: 1g, \
spark.executor.instances: 1}
"""
COUNT = """
import sys
from pathlib import Path
def init():
    print("init", sys.argv[1:])
def run(batch):
    return [Path(each).read_text() for each in batch]
def shutdown():
    print("shutdown")
"""


@pytest.fixture
def nested(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> PipelineJob:
    """Steps of all kinds, one of them a pipeline."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/count.py").write_text(COUNT)
    (tmp_path / "rows").mkdir()
    for name in "abc":
        (tmp_path / "rows" / name).write_text(name)
    (tmp_path / "outer.yml").write_text(OUTER.format(trace=tmp_path / "trace"))
    (tmp_path / "pipeline.yml").write_text(NESTED.replace("ENVIRONMENT", ENVIRONMENT.strip()))
    job = read_job(tmp_path / "pipeline.yml")
    assert isinstance(job, PipelineJob)
    return job


@pytest.mark.parametrize(("step", "code"), [("outer.use", 6), ("search", 4), ("each", 3)])
def test_a_step_of_a_pipeline_in_it_a_trial_and_the_first_turn_of_a_loop_run_in_front(
    workspace: Workspace, nested: PipelineJob, step: str, code: int
) -> None:
    assert debug(workspace, nested, step) == code


def test_of_a_parallel_step_one_mini_batch_runs_in_front(
    workspace: Workspace, nested: PipelineJob, capfd: pytest.CaptureFixture[str]
) -> None:
    assert debug(workspace, nested, "count") == 0
    assert capfd.readouterr().out == ("mini-batch 0 of 2, 2 items\ninit ['--more', '1']\na\nb\n2 rows\nshutdown\n")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("outer", "'outer' is a pipeline: one of its steps can be run"),
        ("outer.usee", "no step 'usee'"),
        ("each.more", "no pipeline: it has no step 'more'"),
        ("loop", "does nothing itself"),
        ("spark", "cannot be run in the foreground: Spark runs it in processes of its own"),
    ],
)
def test_what_cannot_run_in_front_is_a_line(workspace: Workspace, nested: PipelineJob, step: str, words: str) -> None:
    with pytest.raises((Invalid, NotFound), match=words):
        debug(workspace, nested, step)


@pytest.mark.slow
def test_a_step_after_a_loop_sees_what_its_last_turn_has_left(
    workspace: Workspace, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "count.yml").write_text(
        f"name: count\ntype: command\n{ENVIRONMENT}inputs: {{n: {{type: integer}}}}\n"
        "outputs: {next: {type: integer}}\ncommand: echo $(( ${{inputs.n}} + 1 )) > ${{outputs.next}}\n"
    )
    (tmp_path / "loop.yml").write_text(
        "type: pipeline\njobs:\n  count: {type: command, component: count.yml, inputs: {n: 0}}\n"
        "  loop: {type: do_while, body: '${{parent.jobs.count}}', mapping: {next: n}, "
        "limits: {max_iteration_count: 11}}\n"
        "  after: {command: 'exit ${{inputs.n}}', inputs: {n: '${{parent.jobs.count.outputs.next}}'}}\n"
    )
    job = read_job(tmp_path / "loop.yml")
    assert isinstance(job, PipelineJob)
    assert debug(workspace, job, "after") == 11
