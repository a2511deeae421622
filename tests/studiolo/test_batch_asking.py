"""Asking a batch endpoint: what it takes, uploads, whose files may be named, and what does the same elsewhere."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs import submit
from serving.batch import deploying, deployment_files, endpoint_files, inputs
from serving.batch.endpoint_files import BatchEndpointFile
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.endpoints import Endpoint
from studiolo import batch_activity, batch_asking
from studiolo.arguments import spread
from studiolo.cli import app
from tests.studiolo.test_batch_command import DEPLOYMENT, SCRIPT
from workspace import Workspace
from workspace.documents import parse_yaml, read_yaml
from workspace.errors import Denied, Invalid
from workspace.settings import Settings
from workspace.tokens import Role, TokenRecord

PIPELINE = """\
name: line
endpoint_name: letters
type: pipeline
job_definition:
  type: command
  command: echo "$(ls ${{inputs.rows}}) ${{inputs.word}}" > ${{outputs.said}}/s.txt
  inputs: {rows: {type: uri_folder}, word: {type: string, default: hi}, more: {type: uri_file, optional: true}}
  outputs: {said: {type: uri_folder}}
  environment_variables: {TOKEN: hush}
"""
FILES = {"code/score.py": SCRIPT, "model/weights.txt": "1", "d.yml": DEPLOYMENT, "p.yml": PIPELINE}


@pytest.fixture
def letters(workspace: Workspace, tmp_path: Path) -> Endpoint:
    """A batch endpoint with a script that counts letters and a pipeline of one command."""
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    deploying.put_endpoint(workspace, BatchEndpointFile(name="letters", description="counts"))
    for name in ("d.yml", "p.yml"):
        list(deploying.deploy(workspace, deployment_files.read(tmp_path / name), default=name == "d.yml"))
    return batch_activity.endpoint(workspace, "letters")


def holder(workspace: Workspace, role: Role = "admin") -> TokenRecord:
    return workspace.tokens.check(workspace.tokens.create("somebody", role))


def test_a_model_takes_files_and_a_pipeline_what_it_declares(letters: Endpoint) -> None:
    model = batch_asking.inputs(letters.deployments["count"])
    assert model == [batch_asking.Input(name="data", is_path=True, needed=True)]
    assert batch_asking.takes_files(model)
    line = batch_asking.inputs(letters.deployments["line"])
    assert [(each.name, each.is_path, each.needed, each.value) for each in line] == [
        ("rows", True, True, None), ("word", False, False, "hi"), ("more", True, False, None),
    ]  # fmt: skip
    assert not batch_asking.takes_files(line)


def test_uploaded_files_become_data_and_are_scored(workspace: Workspace, letters: Endpoint) -> None:
    uploads = [("a.txt", b"one"), ("../b.txt", b"three")]
    job = batch_asking.ask(workspace, "letters", Invocation(), holder=holder(workspace, "viewer"), uploads=uploads)
    assert job.inputs == {"data": Given(path="azureml:data:letters-upload:1")}
    submit.wait(workspace, job.name, seconds=60)
    [output] = batch_activity.outputs(workspace, batch_activity.job(workspace, "letters", job.name))
    text = (workspace.assets.path(workspace.assets.get("data", output.ref)) / "predictions.csv").read_text()
    assert text == "3 letters\n5 letters\n"
    assert [each.name for each in output.files] == ["predictions.csv"]


def test_one_uploaded_file_keeps_its_name(workspace: Workspace) -> None:
    given = batch_asking.keep_upload(workspace, "letters", [("märz 1.csv", b"1,2")])
    assert given.path == "azureml:letters-m-rz-1:1"
    assert workspace.assets.path(workspace.assets.get("data", given.path)).name == "märz 1.csv"


def test_uploads_that_cannot_be_kept_are_refused(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="no file was given"):
        batch_asking.keep_upload(workspace, "letters", [])
    with pytest.raises(Invalid, match=r"two files are called 'a\.txt'"):
        batch_asking.keep_upload(workspace, "letters", [("a.txt", b"1"), ("a.txt", b"2")])


def test_files_of_this_machine_are_for_those_who_own_it(
    workspace: Workspace, letters: Endpoint, tmp_path: Path
) -> None:
    mine = Invocation(inputs={"data": Given(path=str(tmp_path / "code"))})
    copied = Invocation(inputs={"data": Given(path="azureml:x:1")}, output_path=str(tmp_path / "out"))
    roles: tuple[Role, ...] = ("viewer", "contributor")
    for role in roles:
        for asked in (mine, copied):
            with pytest.raises(Denied, match="data of the workspace only"):
                batch_asking.ask(workspace, "letters", asked, holder=holder(workspace, role))
    assert batch_asking.ask(workspace, "letters", mine, holder=holder(workspace)).deployment == "count"


def test_what_is_shown_asks_the_same_in_the_terminal_in_a_file_and_over_http(
    workspace: Workspace, letters: Endpoint, tmp_path: Path
) -> None:
    workspace.assets.put("data", "texts", tmp_path / "code")
    asked = Invocation(
        deployment="count", inputs={"data": Given(path="azureml:texts:1")}, mini_batch_size=2, instances=3,
        output_path="/tmp/o ut",
    )  # fmt: skip
    assert batch_asking.as_command("letters", asked) == (
        "studiolo batch-endpoint invoke -n letters -d count --input azureml:texts:1 --mini-batch-size 2"
        " --instance-count 3 --output-path '/tmp/o ut'"
    )
    read = inputs.read(parse_yaml(batch_asking.as_file(workspace, asked)))
    assert read == {"data": Given(path="azureml:texts:1", type="uri_folder")}
    request = shlex.split(batch_asking.as_request(workspace, "letters", asked).replace("\\\n", " "))
    body = json.loads(request[request.index("-d") + 1])["properties"]
    assert body["InputData"] == {"data": {"JobInputType": "UriFolder", "Uri": "azureml:texts:1"}}
    assert (body["MiniBatchSize"], body["OutputData"]["score"]["Uri"]) == (2, "/tmp/o ut")
    assert "azureml-model-deployment: count" in request


def test_a_job_knows_what_was_asked_for_it(workspace: Workspace, letters: Endpoint, tmp_path: Path) -> None:
    given = {"rows": Given(path=str(tmp_path / "code")), "word": Given(value="ho 'ho'")}
    job = batch_asking.ask(
        workspace, "letters", Invocation(deployment="line", inputs=given), holder=holder(workspace)
    )  # fmt: skip
    again = batch_asking.asked_before(workspace, job)
    kept = {"rows": Given(path="azureml:data:letters-code:1"), "word": Given(value="ho 'ho'")}
    assert again == Invocation(deployment="line", inputs=kept)
    assert batch_asking.as_command("letters", again).endswith("-d line -f inputs.yml")
    read = inputs.read(parse_yaml(batch_asking.as_file(workspace, again)))
    assert read["word"] == Given(value="ho 'ho'")
    assert read["rows"].path == "azureml:data:letters-code:1"
    assert submit.wait(workspace, job.name, seconds=60).status == "Completed"


def test_the_files_that_are_shown_make_the_endpoint_anew(
    letters: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = batch_asking.files(letters)
    assert list(files) == ["endpoint.yml", "deployment-count.yml", "deployment-line.yml"]
    assert not any("hush" in text or "WORD: letters" in text for text in files.values())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert endpoint_files.read_document(read_yaml(tmp_path / "endpoint.yml")).description == "counts"
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "another"))
    monkeypatch.chdir(tmp_path)
    for line in batch_asking.as_making(letters).splitlines():
        CliRunner().invoke(app, spread(shlex.split(line)[1:]), catch_exceptions=False)
    with Workspace.open(settings=Settings(home=tmp_path / "another")) as another:
        made = batch_activity.endpoint(another, "letters")
        assert sorted(made.deployments) == ["count", "line"]
        assert batch_activity.default_deployment(made) == "count"


def test_data_is_offered_newest_first(workspace: Workspace) -> None:
    for name in ("old", "new"):
        workspace.assets.put("data", name, name.encode())
    workspace.assets.put("data", "new", b"newer")
    workspace.assets.put("model", "weights", b"1")
    assert batch_asking.data(workspace) == ["azureml:new:2", "azureml:old:1"]
