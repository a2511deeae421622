"""Steps of every kind in one pipeline: a sweep, mini-batches, and commands that take what they leave."""

from __future__ import annotations

from pathlib import Path

from jobs import records
from tests.jobs.pipelines import ENVIRONMENT, Run, log_of, statuses
from tests.jobs.pipelines import cache as cache
from tests.jobs.pipelines import run_pipeline as run_pipeline
from tests.jobs.sweeping import TRIAL
from workspace.home import Workspace

BATCH = """\
import pathlib


def init():
    pass


def run(mini_batch):
    return [pathlib.Path(path).read_text().strip().upper() for path in mini_batch]
"""


def test_mini_batches_are_a_step(workspace: Workspace, run_pipeline: Run, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/upper.py").write_text(BATCH)
    (tmp_path / "upper.yml").write_text(
        f"name: upper\ntype: parallel\ninputs: {{rows: {{type: uri_folder}}}}\noutputs: {{all: {{type: uri_file}}}}\n"
        "mini_batch_size: '1'\ninput_data: ${{inputs.rows}}\n"
        f"task:\n  type: run_function\n  code: src\n  entry_script: upper.py\n  {ENVIRONMENT}"
        "  append_row_to: ${{outputs.all}}\n"
    )
    run_pipeline("""
type: pipeline
name: batches
jobs:
  rows: {command: "for n in a b c; do echo $n > ${{outputs.rows}}/$n; done", outputs: {rows: {}}}
  upper:
    type: parallel
    component: upper.yml
    inputs: {rows: "${{parent.jobs.rows.outputs.rows}}"}
  show: {command: "sort ${{inputs.all}}", inputs: {all: "${{parent.jobs.upper.outputs.all}}"}}
""")
    assert log_of(workspace, "batches_show").split() == ["A", "B", "C"]
    assert statuses(workspace, "batches") == dict.fromkeys(["rows", "upper", "show"], "Completed")


def test_a_sweep_is_a_step_whose_best_trial_leaves_its_outputs_to_others(
    workspace: Workspace, run_pipeline: Run, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/trial.py").write_text(TRIAL + "log(float(sys.argv[1]))\n")
    (tmp_path / "trial.yml").write_text(
        f"name: trial\ntype: command\ncode: src\n{ENVIRONMENT}"
        "inputs: {rate: {type: number}, base: {type: integer, default: 3}}\noutputs: {model: {type: uri_folder}}\n"
        "command: >-\n  echo ${{inputs.rate}} ${{inputs.base}} > ${{outputs.model}}/m;"
        " python trial.py ${{inputs.rate}}\n"
    )
    run_pipeline("""
type: pipeline
name: swept
jobs:
  search:
    type: sweep
    trial: trial.yml
    search_space: {rate: {type: choice, values: [0.5, 0.25]}}
    sampling_algorithm: grid
    objective: {goal: minimize, primary_metric: score}
    limits: {max_total_trials: 2, max_concurrent_trials: 1}
  show: {command: "cat ${{inputs.model}}/m", inputs: {model: "${{parent.jobs.search.outputs.model}}"}}
""")
    assert log_of(workspace, "swept_show") == "0.25 3\n"
    assert records.get(workspace, "swept_search").kind == "sweep"
