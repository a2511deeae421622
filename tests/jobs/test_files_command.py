"""Command job files: what is read, what is refused with its line, and what is said on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.files import job_of, read_job
from jobs.files.command import CommandJob
from jobs.files.environment import Environment
from jobs.files.plain import plain
from jobs.files.ports import Input, Output
from jobs.files.references import Reference
from workspace.errors import Invalid

WHOLE = """
$schema: https://example.test/commandJob.schema.json
type: command
name: train
experiment_name: iris
command: >-
  python main.py --rows ${{inputs.rows}} --rate ${{inputs.rate}} $[[ --seed ${{inputs.seed}} ]] --out ${{outputs.model}}
code: src
environment: azureml:sklearn-1.5@latest
environment_variables:
  DEBUG: true
  RATE: 0.01
compute: azureml:cpu-cluster
inputs:
  rows:
    type: uri_file
    path: rows.csv
    mode: download
  rate: 0.1
  seed:
    value: 7
outputs:
  model:
    type: mlflow_model
    name: iris
    version: 3
  rest:
resources:
  instance_count: "2"
  instance_type: Standard_NC6
  shm_size: 4g
distribution:
  type: PyTorch
  process_count_per_instance: 2
limits:
  timeout: 60
queue_settings:
  priority: High
services:
  board:
    type: tensor_board
    log_dir: logs
identity:
  type: UserIdentity
tags:
  team: blue
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yml"
    path.write_text(text)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> CommandJob:
    (tmp_path / "src").mkdir()
    (tmp_path / "rows.csv").write_text("a\n1\n")
    job = read_job(write(tmp_path, WHOLE))
    assert isinstance(job, CommandJob)
    return job


def test_a_job_as_published_files_have_it_is_read(whole: CommandJob, tmp_path: Path) -> None:
    rows = Input(type="uri_file", path=str(tmp_path / "rows.csv"), mode="download")
    assert whole.inputs == {"rows": rows, "rate": 0.1, "seed": 7}
    assert whole.outputs == {"model": Output(type="mlflow_model", name="iris", version="3"), "rest": Output()}
    assert whole.environment == Reference(name="sklearn-1.5", label="latest")
    assert whole.code == tmp_path / "src"
    assert whole.environment_variables == {"DEBUG": True, "RATE": 0.01}
    assert (whole.name, whole.folder, whole.timeout) == ("train", tmp_path, 60)


def test_words_are_read_in_any_case_and_numbers_as_text(whole: CommandJob) -> None:
    assert whole.distribution is not None
    assert whole.distribution.type == "pytorch"
    assert whole.resources is not None
    assert whole.resources.instance_count == 2
    assert whole.queue_settings is not None
    assert whole.queue_settings.priority == "high"


def test_what_has_no_effect_here_says_so_in_one_line_each(whole: CommandJob) -> None:
    assert [line.split(" has no effect here: ")[0] for line in whole.unused] == [
        "`identity`", "`services`", "`instance_type`", "`shm_size`",
    ]  # fmt: skip
    assert len(set(whole.unused)) == 4


def test_plain_values_of_a_job_are_the_job_again(whole: CommandJob) -> None:
    again = job_of(plain(whole), whole.folder)
    assert plain(again) == plain(whole)
    assert isinstance(again, CommandJob)
    assert (again.inputs, again.outputs, again.code) == (whole.inputs, whole.outputs, whole.code)
    assert (again.resources, again.distribution, again.limits) == (whole.resources, whole.distribution, whole.limits)


def test_a_conda_file_is_read_with_the_job(tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.10, pip, {pip: ['-r needed.txt', './own']}]\n")
    job = read_job(write(tmp_path, "command: echo\nenvironment:\n  image: ubuntu\n  conda_file: conda.yml\n"))
    assert isinstance(job, CommandJob)
    assert isinstance(job.environment, Environment)
    assert job.environment.conda == {"dependencies": ["python=3.10", "pip", {"pip": ["-r needed.txt", "./own"]}]}
    assert (job.environment.image, job.environment.folder) == ("ubuntu", tmp_path)
    moved = plain(job)["environment"]["conda_file"]["dependencies"][2]["pip"]
    assert moved == [f"-r {tmp_path}/needed.txt", f"{tmp_path}/own"]


def test_an_environment_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "one.yml").write_text("name: one\nbuild:\n  path: context\n")
    (tmp_path / "environments" / "context").mkdir()
    job = read_job(write(tmp_path, "command: echo\nenvironment: file:environments/one.yml\n"))
    assert isinstance(job, CommandJob)
    assert isinstance(job.environment, Environment)
    assert job.environment.build is not None
    assert job.environment.build.path == tmp_path / "environments" / "context"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("comand: echo hi\n", ":1:1", "did you mean 'command'?"),
        ("command: echo ${{inputs.nme}}\ninputs:\n  name: x\n", ":1:1", "did you mean 'inputs.name'?"),
        ("command: echo ${{outputs.x}}\n", ":1:1", "not declared"),
        ("command: echo\ninputs:\n  rows:\n    path: gone.csv\n", ":4:5", "paths are relative to"),
        ("command: echo\nlimits:\n  timeout: soon\n", ":3:3", "`limits.timeout` must be a whole number"),
        ("command: echo\nlimits:\n  timeout: 0\n", ":3:3", "seconds above 0"),
        ("command: echo\nresources:\n  instance_count: 1.5\n", ":3:3", "must be a whole number, not 1.5"),
        ("type: swep\ncommand: echo\n", ":1:1", "`type` cannot be 'swep'"),
        ("command: ''\n", ":1:1", "`command` is empty"),
        ("command:\n", ":1:1", "`command` is empty"),
        ("name: x\n", ":1:1", "`command` is needed"),
        ("command: echo\ncode: gone\n", ":2:1", "no file or folder at 'gone'"),
        ("command: echo\nenvironment: sklearn\n", ":2:1", "must begin with `azureml:`"),
        ("command: echo\nenvironment:\n  conda_file: gone.yml\n", ":3:3", "no conda file at 'gone.yml'"),
        ("command: echo\nenvironment:\n  channels: [main]\n", ":2:1", "cannot be a conda file"),
        ("command: echo\nenvironment: {}\n", ":2:1", "needs an `image`"),
        ("command: echo\nenvironment: file:gone.yml\n", ":2:1", "no file at 'file:gone.yml'"),
        ("command: echo\ndistribution:\n  type: horovod\n", ":3:3", "cannot be 'horovod'"),
        ("command: echo\ninputs:\n  rows: [1]\n", ":3:3", "must be a literal or a mapping"),
        ("command: echo\ninputs:\n  rows:\n    type: uri_file\n    mode: eval_mount\n", ":5:5", "is for type mltable"),
        ("command: echo\noutputs:\n  a:\n    version: 1\n", ":4:5", "needs a `name`"),
        ("command: echo\noutputs:\n  a:\n    name: a b\n", ":4:5", "has letters, digits"),
        ("command: echo\ntags: [a]\n", ":2:1", "must be a mapping of names"),
        ("", "", "the file is empty"),
        ("[]", "", "must be a mapping of keys"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_job(write(tmp_path, text))
    assert where in str(caught.value)
    assert what in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("command: echo\n", "no-environment"),
        ("command: echo\nenvironment: azureml:e:1\ntags:\n  a: 1\n", "number-for-text"),
        ("command: echo\nenvironment: azureml:e:1\ninputs:\n  a: {type: integer, value: '3'}\n", "typed-input"),
        ("command: echo\nenvironment: azureml:e:1\noutputs:\n  a: {description: rows}\n", "key-of-ours"),
    ],
)
def test_what_azure_s_package_refuses_is_a_warning_and_strictly_an_error(tmp_path: Path, text: str, rule: str) -> None:
    path = write(tmp_path, text)
    assert rule in {finding.rule for finding in read_job(path).findings if finding.weight == "leniency"}
    with pytest.raises(Invalid):
        read_job(path, strict=True)
