"""Jobs in Python: the shape of azure-ai-ml, the road of every other job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.files import job_of
from jobs.submit import wait
from studiolo import Client, Input, Output, command, load_component, load_job, pipeline
from studiolo.entities import Data, Environment
from studiolo.sweep import BanditPolicy, Choice, Uniform
from workspace.errors import Invalid, NotFound, StudioloError

ADD = """\
name: add
version: 1
type: command
inputs:
  rows: {type: uri_file}
  much: {type: integer, default: 1}
outputs:
  sums: {type: uri_folder}
command: >-
  read n < ${{inputs.rows}} && echo $((n + ${{inputs.much}})) > ${{outputs.sums}}/n
environment: {image: ubuntu, conda_file: {dependencies: [{pip: [--no-index]}]}}
"""
# A component names what it runs in; this is made in a moment, without a network.
BARE = Environment(name="bare", image="ubuntu", conda_file={"dependencies": [{"pip": ["--no-index"]}]})


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "add.yml").write_text(ADD)
    (tmp_path / "one").write_text("1\n")
    with Client(tmp_path / "home") as opened:
        yield opened


def numbers(said: Any) -> Any:
    """Return a command that adds to the number in a folder."""
    return command(
        command="read n < ${{inputs.rows}}/n && echo $((n + ${{inputs.much}})) | tee ${{outputs.sums}}/n",
        inputs={"rows": Input(type="uri_folder"), "much": said},
        outputs={"sums": Output(type="uri_folder")},
        environment=BARE,
    )


def test_a_command_is_submitted_followed_and_found(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    job = command(
        command="echo ${{inputs.word}} $PLACE; mkdir outputs; echo left > outputs/it",
        inputs={"word": "hello"}, environment_variables={"PLACE": "there"}, display_name="says hello",
        tags={"team": "blue"}, timeout=60,
    )  # fmt: skip
    made = client.jobs.create_or_update(job)
    ended = client.jobs.stream(made.name)
    assert capsys.readouterr().out == "hello there\n"
    assert (ended.status, ended.type, ended.tags) == ("Completed", "command", {"team": "blue"})
    assert client.jobs.get(made.name).limits == {"timeout": 60}
    assert [each.name for each in client.jobs.list()] == [made.name]
    (folder,) = client.jobs.download(made.name, download_path="got")
    assert (folder / "outputs" / "it").read_text() == "left\n"


def test_a_job_that_fails_raises_when_it_is_followed(client: Client) -> None:
    made = client.jobs.create_or_update(command(command="exit 3"))
    with pytest.raises(StudioloError, match="failed"):
        client.jobs.stream(made.name)
    assert client.jobs.get(made.name).exit_code == 3


def test_a_job_is_cancelled_archived_and_restored(client: Client) -> None:
    made = client.jobs.create_or_update(command(command="sleep 60"))
    client.jobs.cancel(made.name)
    assert wait(client.workspace, made.name, seconds=30).status == "Canceled"
    client.jobs.archive(made.name)
    assert list(client.jobs.list()) == []
    assert [each.name for each in client.jobs.list(list_view_type="archived")] == [made.name]
    client.jobs.restore(made.name)
    assert [each.name for each in client.jobs.list()] == [made.name]


def test_what_no_file_could_say_is_refused_with_a_hint(client: Client) -> None:
    with pytest.raises(Invalid, match="unknown key 'enviroment'") as caught:
        client.jobs.create_or_update(command(command="true", enviroment="azureml:mine"))
    assert "environment" in str(caught.value.hint)
    with pytest.raises(Invalid, match="a dict cannot be submitted") as neither:
        client.create_or_update({"command": "true"})
    assert neither.value.hint is not None
    with pytest.raises(Invalid, match="takes no input 'moch'") as unknown:
        numbers(1)(moch=2)
    assert "much" in str(unknown.value.hint)


def test_a_file_is_loaded_changed_and_submitted(client: Client, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("command: echo ${{inputs.word}}\ninputs: {word: file}\ntags: {a: b}\n")
    job = load_job("job.yml", params_override=[{"inputs.word": "override"}])
    job.display_name = "changed"
    job.tags["c"] = "d"
    made = client.jobs.create_or_update(job, experiment_name="mine")
    found = client.jobs.get(wait(client.workspace, made.name, seconds=30).name)
    assert (found.display_name, found.experiment_name, found.tags) == ("changed", "mine", {"a": "b", "c": "d"})
    assert found.inputs == {"word": "override"}


def test_a_pipeline_is_a_function_whose_calls_are_steps(client: Client) -> None:
    add = load_component("add.yml")
    more = numbers(10)

    @pipeline(display_name="sums", default_compute="local")
    def sums(start: Any, much: int = 2) -> dict[str, Any]:
        first = add(rows=start, much=much)
        second = more(rows=first.outputs.sums)
        last = more(rows=second.outputs.sums, much=100)
        return {"all": last.outputs.sums}

    job = sums(start=Input(type="uri_file", path="one"), much=3)
    said = job.as_job()
    assert list(said["jobs"]) == ["first", "second", "last"]
    assert said["jobs"]["second"]["inputs"]["rows"] == "${{parent.jobs.first.outputs.sums}}"
    assert said["settings"] == {"default_compute": "local"}
    made = client.jobs.create_or_update(job)
    ended = client.jobs.stream(made.name)
    assert (ended.status, ended.type) == ("Completed", "pipeline")
    (folder,) = client.jobs.download(made.name, download_path="got", output_name="all")
    assert (folder / "n").read_text() == "114\n"
    assert len(client.jobs.list(parent_job_name=made.name)) == 3


def test_a_pipeline_is_a_step_of_another_one(client: Client) -> None:
    add, more = load_component("add.yml"), numbers(10)

    @pipeline()
    def inner(rows: Any, much: int) -> dict[str, Any]:
        step = more(rows=rows, much=much)
        return {"sums": step.outputs.sums}

    @pipeline
    def outer(start: Any) -> dict[str, Any]:
        first = add(rows=start)
        nested = inner(rows=first.outputs.sums, much=5)
        return {"sums": nested.outputs.sums}

    made = client.jobs.create_or_update(outer(start=Input(type="uri_file", path="one")))
    assert client.jobs.stream(made.name).status == "Completed"
    (folder,) = client.jobs.download(made.name, download_path="got", output_name="sums")
    assert (folder / "n").read_text() == "7\n"


def test_steps_of_one_name_are_numbered_and_outputs_can_be_set(client: Client) -> None:
    more = numbers(1)
    more.outputs.sums = Output(type="uri_folder", mode="upload")

    @pipeline()
    def three(rows: Any) -> None:
        for _ in range(2):
            step = more(rows=rows)
            step.compute = "local"
        more(rows=rows)

    said = three(rows=Input(type="uri_folder", path=".")).as_job()
    assert sorted(said["jobs"]) == ["command", "command_1", "step"]
    assert said["jobs"]["step"]["compute"] == "local"
    assert said["jobs"]["step"]["outputs"]["sums"]["mode"] == "upload"


def test_a_sweep_says_what_a_file_would(client: Client) -> None:
    train = command(
        command="echo ${{inputs.rate}} ${{inputs.kind}} ${{inputs.word}}", environment=BARE,
        inputs={"rate": 0.1, "kind": "a", "word": "x"},
    )  # fmt: skip
    tried = train(rate=Uniform(min_value=0.1, max_value=1), kind=Choice(["a", "b"]))
    job = tried.sweep(primary_metric="loss", goal="Minimize", sampling_algorithm="random", max_total_trials=4)
    job.set_limits(max_concurrent_trials=2)
    job.early_termination = BanditPolicy(slack_factor=0.1, delay_evaluation=2)
    said = job.as_job()
    assert said["trial"]["command"] == "echo ${{search_space.rate}} ${{search_space.kind}} ${{inputs.word}}"
    assert said["search_space"]["rate"] == {"type": "uniform", "min_value": 0.1, "max_value": 1}
    assert said["inputs"] == {"word": "x"}
    assert said["limits"] == {"max_total_trials": 4, "max_concurrent_trials": 2}
    assert said["early_termination"]["slack_factor"] == 0.1
    assert job_of(said, client.workspace.home).type == "sweep"  # type: ignore[attr-defined]  # it is a SweepJob


def test_data_is_registered_and_read_by_its_name(client: Client) -> None:
    made = client.data.create_or_update(Data(name="rows", path="one", type="uri_file", tags={"team": "blue"}))
    assert (made.name, made.version, made.type) == ("rows", "1", "uri_file")
    assert client.data.create_or_update(Data(name="rows", path="one", type="uri_file")).version == "1"
    job = command(command="cat ${{inputs.rows}}", inputs={"rows": Input(type="uri_file", path="azureml:rows:1")})
    assert client.jobs.stream(client.jobs.create_or_update(job).name).status == "Completed"
    client.data.archive("rows")
    with pytest.raises(NotFound):
        client.data.get("rows")


def test_a_component_is_registered_and_called(client: Client) -> None:
    add = client.components.create_or_update(load_component("add.yml"))
    assert [each.name for each in client.components.list()] == ["add"]

    @pipeline()
    def once(start: Any) -> dict[str, Any]:
        step = add(rows=start, much=4)
        return {"sums": step.outputs.sums}

    job = once(start=Input(type="uri_file", path="one"))
    assert json.loads(json.dumps(job.as_job()))["jobs"]["step"]["component"] == "azureml:add:1"
    made = client.jobs.create_or_update(job)
    assert client.jobs.stream(made.name).status == "Completed"
    (folder,) = client.jobs.download(made.name, download_path="got", output_name="sums")
    assert (folder / "n").read_text() == "5\n"


TRIAL = """\
import json, os, sys, urllib.request

body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "loss", "value": float(sys.argv[1]), "timestamp": 0, "step": 0}
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode(), headers)).close()
print(sys.argv[1], file=open(sys.argv[2] + "/n", "w"))
"""


def trial(folder: Path) -> Any:
    """Return a command that logs its rate as its loss, and leaves it."""
    folder.mkdir()
    (folder / "trial.py").write_text(TRIAL)
    return command(
        command="python trial.py ${{inputs.rate}} ${{outputs.kept}}", code=folder, environment=BARE,
        inputs={"rate": 1}, outputs={"kept": Output(type="uri_folder")},
    )  # fmt: skip


def test_a_sweep_leaves_what_its_best_trial_left(client: Client, tmp_path: Path) -> None:
    search = trial(tmp_path / "code")(rate=Choice([3, 1, 2])).sweep(
        primary_metric="loss", goal="minimize", sampling_algorithm="grid", max_total_trials=3
    )
    made = client.jobs.create_or_update(search)
    assert client.jobs.stream(made.name).type == "sweep"
    (folder,) = client.jobs.download(made.name, download_path="got", output_name="kept")
    assert (folder / "n").read_text() == "1\n"


def test_a_sweep_is_a_step_of_a_pipeline(client: Client, tmp_path: Path) -> None:
    once = trial(tmp_path / "code")

    @pipeline()
    def searched() -> dict[str, Any]:
        best = once(rate=Choice([3, 2])).sweep(
            primary_metric="loss", goal="minimize", sampling_algorithm="grid", max_total_trials=2
        )
        after = numbers(10)(rows=best.outputs.kept)
        return {"sums": after.outputs.sums}

    job = searched()
    assert list(job.as_job()["jobs"]) == ["best", "after"]
    made = client.jobs.create_or_update(job)
    assert client.jobs.stream(made.name).status == "Completed"
    (folder,) = client.jobs.download(made.name, download_path="got", output_name="sums")
    assert (folder / "n").read_text() == "12\n"
