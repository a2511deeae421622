"""Scripts written for `az ml` run line by line with the `az` of `studiolo shell`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studiolo.commands.az import translated
from studiolo.commands.az_words import parted
from workspace.errors import Invalid

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "az_scripts"
Run = Callable[[str], subprocess.CompletedProcess[str]]

FILES = {
    "job.yml": """\
command: >-
  echo ${{inputs.word}} && echo ${{inputs.rate}} > ${{outputs.rates}}/rate
inputs: {word: hello, rate: 0.1}
outputs: {rates: {type: uri_folder}}
""",
    "schedule.yml": """\
name: nightly
trigger: {type: cron, expression: "0 3 * * *", time_zone: Pacific Standard Time}
create_job: ./job.yml
""",
    "workspace.yml": "name: from-file\nlocation: here\n",
    "rows.csv": "a,b\n1,2\n3,4\n",
    "data.yml": "name: folder\nversion: 3\npath: things\n",
    "things/one.txt": "one\n",
    "environment.yml": ("name: bare\nversion: 1\nimage: ubuntu\nconda_file: {dependencies: [{pip: [--no-index]}]}\n"),
    "component.yml": """\
name: count_rows
version: 1
type: command
inputs: {rows: {type: uri_file}}
command: wc -l < ${{inputs.rows}}
environment: azureml:bare@latest
""",
    "read.yml": """\
command: wc -l < ${{inputs.rows}} && mkdir outputs && echo weights > outputs/model.txt
environment: azureml:bare:1
inputs: {rows: {type: uri_file, path: azureml:rows:1}}
""",
    "again.yml": """\
name: more
version: 1
type: command
inputs: {number: {type: uri_folder}, much: {type: integer}}
outputs: {sum: {type: uri_folder}}
command: echo $(($(cat ${{inputs.number}}/n) * ${{inputs.much}})) > ${{outputs.sum}}/n
environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
""",
    "pipeline.yml": """\
type: pipeline
settings: {default_compute: azureml:cpu-cluster}
inputs: {much: 1, rows: {type: uri_file, path: azureml:rows@latest}}
outputs: {total: {type: uri_folder}}
jobs:
  count:
    type: command
    command: wc -l < ${{inputs.rows}} > ${{outputs.sum}}/n
    environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
    inputs: {rows: "${{parent.inputs.rows}}"}
    outputs: {sum: {type: uri_folder}}
  times:
    component: azureml:more@latest
    inputs: {number: "${{parent.jobs.count.outputs.sum}}", much: "${{parent.inputs.much}}"}
    outputs: {sum: "${{parent.outputs.total}}"}
""",
    "sweep.yml": """\
type: sweep
trial:
  command: >-
    python trial.py ${{search_space.rate}} && echo $WORD > ${{outputs.kept}}/word
  code: trial
  environment_variables: {WORD: file}
  environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
search_space: {rate: {type: choice, values: [0.1, 0.2]}}
sampling_algorithm: grid
objective: {goal: minimize, primary_metric: loss}
limits: {max_total_trials: 9, max_concurrent_trials: 1}
outputs: {kept: {type: uri_folder}}
""",
    "trial/trial.py": """\
import json, os, sys, urllib.request

body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "loss", "value": float(sys.argv[1]), "timestamp": 0, "step": 0}
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)).close()
""",
    "batch.yml": """\
name: count
endpoint_name: letters
type: model
model: {path: weights, name: counter}
code_configuration: {code: batch, scoring_script: score.py}
compute: azureml:batch-cluster
settings: {mini_batch_size: 1}
""",
    "weights/weights.txt": "1",
    "batch/score.py": """\
import pathlib

def run(mini_batch):
    return [f"{pathlib.Path(path).name} {len(pathlib.Path(path).read_text())}" for path in mini_batch]
""",
    "endpoint.yml": "name: bot\nauth_mode: key\n",
    "deployment.yml": """\
name: blue
endpoint_name: bot
code_configuration: {code: code, scoring_script: score.py}
environment_variables: {WORD: blue}
instance_type: Standard_DS3_v2
""",
    "code/score.py": """\
import os


def init():
    pass


def run(raw_data):
    return os.environ["WORD"] + " " + raw_data
""",
    "request.json": '{"data": [1]}',
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a line of bash in a shell that has said `eval "$(studiolo shell --print)"`."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "STUDIOLO_HOME": str(tmp_path / "home"), "PYTHONPATH": path, "NO_COLOR": "1", "RESOURCE_GROUP": "my-group",
        "WORKSPACE": "my-workspace", "STUDIOLO": f"{sys.executable} -m studiolo",
    }  # fmt: skip

    def bash(line: str) -> subprocess.CompletedProcess[str]:
        words = ["bash", "-c", f'eval "$($STUDIOLO shell --print)"; {line}']
        return subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170, check=False
        )

    return bash


def test_a_script_of_a_job_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'command-job.sh'}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "defaults: my-group my-workspace westeurope 36" in said
    assert "compute: Succeeded" in said
    assert "status: Completed" in said
    assert "Job completed" in said
    assert "again" in said  # what the job says
    assert "0.1" in said  # what it left
    assert "a new name" in said
    assert "listed: 0" in said
    assert said[-1] == "failed as it should"


@pytest.mark.slow
def test_a_script_of_assets_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'assets.sh'}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "uri_file" in said
    assert "clean" in said
    assert [line for line in said if line in ("bare", "from-image")] == ["bare", "from-image"]
    assert "from-job\t1" in said
    assert "weights" in said
    assert "left: 0" in said
    assert said[-1] == "computes: 1"  # this machine itself


def test_a_script_of_a_pipeline_and_a_sweep_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'pipeline-sweep.sh'}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "steps: 2" in said
    assert "total: 6" in said
    assert "2 trials, 0 ended early, 0 failed" in done.stdout
    assert "\nCompleted\nsweep\nloss\n" in done.stdout
    assert said[-1] == "best: set"


@pytest.mark.slow
def test_a_script_of_an_online_endpoint_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'online-endpoint.sh'}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "endpoint: Succeeded" in said
    assert "deployment: Succeeded" in said
    assert [line for line in said if '{\\"data\\": [1]}' in line] == [
        '"blue {\\"data\\": [1]}"', '"green {\\"data\\": [1]}"'
    ]  # fmt: skip
    assert "key: 1" in said
    assert "uri: score" in said
    assert said[-1] == "left: 0"


@pytest.mark.slow
def test_a_script_of_a_batch_endpoint_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'batch-endpoint.sh'}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "batch: Completed" in said
    assert "one.txt 4" in said
    assert said[-1] == "left: 0"


def test_a_script_of_a_schedule_runs_as_it_is(run: Run) -> None:
    done = run(f"bash {SCRIPTS / 'schedule.sh'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["true", "enabled: 0", "hello", "1 2 * * *", "left: 0"]


def test_a_workspace_is_the_one_there_is_whatever_it_is_called(run: Run) -> None:
    lines = ("az ml workspace create -f workspace.yml --query name -o tsv", "az ml workspace show --query name -o tsv")
    done = run("; ".join(lines))
    assert done.stdout.splitlines() == ["from-file", "studiolo"]


def test_the_shell_says_where_az_is_and_which_workspace(run: Run, tmp_path: Path) -> None:
    done = run("command -v az; cd /; az ml workspace show --query description -o tsv")
    assert done.stdout.splitlines() == [str(tmp_path / "home/shell/az"), f"Studiolo in {tmp_path / 'home'}"]


def test_what_only_a_cloud_has_is_a_clear_line_and_a_failure(run: Run) -> None:
    for line in ("az storage blob list", "az ml feature-store list", "az ml job frobnicate", "az ml compute attach"):
        done = run(line)
        assert done.returncode == 1
        assert "has no counterpart" in done.stderr
        assert "Traceback" not in done.stderr


def test_who_asks_what_a_command_does_is_told_and_nothing_is_done(run: Run) -> None:
    for line in ("az group -h", "az group --help"):
        assert run(line).stdout.startswith("Usage: studiolo az ml")
    assert "--file" in run("az ml job create -f job.yml -h").stdout
    assert run("az ml job list --query 'length(@)'").stdout == "0\n"


def test_quiet_commands_say_nothing_and_succeed(run: Run) -> None:
    lines = "az login; az upgrade --yes; az extension update -n ml; az account set -s x; az group delete -n x --yes"
    done = run(f"set -e; {lines.replace('az login', 'az login -o none')}; az version --query extensions.ml -o tsv")
    assert done.returncode == 0
    assert len(done.stdout.split()) == 1


LINES = """\
ml job create -f j.yml -g a -w b --subscription c --debug => job create -f j.yml -o json
ml job create --fil j.yml --set a=b => job create --file j.yml --set a=b -o json
ml job cancel -n j -h => job cancel --help
ml job cancel -n j --help => job cancel --help
ml job list --max-results 3 -o table => job list --max-results 3 -o table
ml model show --name m --registry-name r => model show --name m -o json
ml data share --name m --version 1 --registry-name r --share-with-name s => \
data share --name m --version 1 --share-with-name s --registry-name r -o json
ml data mount --path azureml:d:1 --mount-point m --persistent => data mount --path azureml:d:1 --mount-point m -o json
ml compute start -n c => compute show -n c -o json
ml online-endpoint get-credentials -n e -o tsv => endpoint keys -n e -o tsv
ml online-endpoint regenerate-keys -n e --key-type primary => endpoint keys -n e --regenerate primary -o json
ml online-endpoint delete -n e -y --no-wait => endpoint delete -n e -y -o json
ml online-deployment create --endpoint e -f d.yml --local => deployment create --endpoint-name e -f d.yml -o json
ml online-deployment get-logs -n b -e e -l 9 -c init => deployment logs -n b -e e --lines 9 -o json
"""


@pytest.mark.parametrize("line", LINES.splitlines())
def test_a_line_of_theirs_is_one_of_ours(line: str) -> None:
    theirs, ours = line.split(" => ")
    assert translated(parted(theirs.split())) == ours.split()


@pytest.mark.parametrize("line", ["ml model package -n m -f p.yml", "ml job connect-ssh -n j --node-index 0"])
def test_what_there_is_no_need_for_says_what_to_do_instead(line: str) -> None:
    with pytest.raises(Invalid) as caught:
        translated(parted(line.split()))
    assert caught.value.hint


def test_a_group_that_is_not_there_is_told_with_its_likeness() -> None:
    with pytest.raises(Invalid, match="az ml jobs") as caught:
        translated(parted(["ml", "jobs", "list"]))
    assert "job" in str(caught.value.hint)
