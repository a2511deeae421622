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
from workspace.errors import NotFound
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
