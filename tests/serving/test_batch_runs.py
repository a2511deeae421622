"""Jobs of batch endpoints: scripts and models over files, retries, deaths, thresholds, outputs and their lineage."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from jobs import assets, records, submit
from jobs.records import JobRecord
from serving.batch import deploying, deployment_files, endpoint_files, inputs, invoking
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.batch.progress import Failure
from serving.endpoints import addressable
from tests.serving.conftest import House
from tests.serving.test_batch_files import PIPELINE
from tests.serving.test_engine_mlflow import saved
from workspace.documents import parse_yaml
from workspace.errors import Conflict, Denied, Invalid, NotFound
from workspace.home import Workspace

LONG = 90.0
SCRIPT = """\
import os
import pathlib
import time

def init():
    global model
    model = sorted(os.listdir(os.environ["AZUREML_MODEL_DIR"]))
    print("init", model)

def run(mini_batch):
    rows = []
    for path in mini_batch:
        text = pathlib.Path(path).read_text().strip()
        if text == "bad":
            raise ValueError("cannot read " + os.path.basename(path))
        if text.startswith("die"):
            flag = pathlib.Path(os.environ["FLAGS"]) / os.path.basename(path)
            if not flag.exists():
                flag.write_text("")
                os.kill(os.getpid(), 9)
        if text.startswith("hang"):
            time.sleep(60)
        if text.startswith("slow"):
            time.sleep(1)
        extra = pathlib.Path(os.environ["AZUREML_BI_OUTPUT_PATH"]) / (os.path.basename(path) + ".seen")
        extra.write_text(text)
        rows.append(os.path.basename(path) + ": " + text)
    return rows
"""


class Batch:
    """A batch endpoint "heart" with a script over a model, and a folder of files."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.folder = folder
        for name in ("code", "model", "flags", "files"):
            (folder / name).mkdir()
        (folder / "model" / "weights.txt").write_text("1")
        deploying.put_endpoint(workspace, endpoint_files.BatchEndpointFile(name="heart"))

    def deploy(self, script: str = SCRIPT, name: str = "blue", **settings: Any) -> None:
        (self.folder / "code" / "score.py").write_text(script)
        given = "".join(f"  {key}: {value}\n" for key, value in settings.items())
        path = self.folder / "deployment.yml"
        path.write_text(
            f"name: {name}\nendpoint_name: heart\nmodel: {{path: model, name: heart}}\ncompute: azureml:c\n"
            "code_configuration: {code: code, scoring_script: score.py}\n"
            f"settings:\n  environment_variables: {{FLAGS: {self.folder / 'flags'}}}\n{given}"
        )
        for _ in deploying.deploy(self.workspace, deployment_files.read(path)):
            pass

    def files(self, texts: Sequence[str]) -> Given:
        for number, text in enumerate(texts):
            (self.folder / "files" / f"{number:03d}.txt").write_text(text)
        return Given(path=str(self.folder / "files"))

    def begin(self, texts: Sequence[str], **more: Any) -> JobRecord:
        return invoking.invoke(self.workspace, "heart", Invocation(inputs={"data": self.files(texts)}, **more))

    def end(self, job: JobRecord) -> dict[str, Any]:
        ended = submit.wait(self.workspace, job.name, seconds=LONG)
        return invoking.shown(self.workspace, ended)

    def log(self, job: JobRecord) -> str:
        return (submit.job_folder(self.workspace, job.name) / "1/user_logs/std_log.txt").read_text()

    def output(self, job: JobRecord) -> Path:
        return self.workspace.assets.path(self.workspace.assets.get("data", f"{job.name}-score"))


@pytest.fixture
def batch(workspace: Workspace, tmp_path: Path) -> Batch:
    return Batch(workspace, tmp_path)


def test_rows_of_all_files_come_in_the_order_of_the_files_and_know_where_they_are_from(batch: Batch) -> None:
    batch.deploy(mini_batch_size=2, max_concurrency_per_instance=2)
    job = batch.begin([f"text {number}" for number in range(7)])
    shown = batch.end(job)
    assert (shown["status"], shown["exit_code"]) == ("Completed", 0), batch.log(job)
    expected = {"mini_batches": 4, "mini_batches_done": 4, "files": 7, "files_done": 7, "files_failed": 0, "rows": 7}
    assert {key: shown["counts"][key] for key in expected} == expected
    output = batch.output(job)
    lines = (output / "predictions.csv").read_text().splitlines()
    assert lines == [f"{number:03d}.txt: text {number}" for number in range(7)]
    assert (output / "003.txt.seen").read_text() == "text 3"
    assert "mini-batch 1/4: 2 files, 2 rows" in batch.log(job)
    assert "init ['model']" in batch.log(job)
    sources = {edge.source for edge in batch.workspace.lineage.upstream(f"run:{shown['run_id']}")}
    assert {"model:heart:1", "data:heart-files:1", "component:heart-blue-code:1"} <= sources
    assert shown["outputs"] == {"score": f"data:{job.name}-score:1"}


def test_tables_datastores_and_data_from_elsewhere_are_inputs(batch: Batch, tmp_path: Path) -> None:
    batch.deploy()
    batch.files(["a", "b", "c"])
    table = tmp_path / "table"
    table.mkdir()
    (table / "MLTable").write_text("type: mltable\npaths: [{file: ../files/000.txt}, {pattern: ../files/*2.txt}]\n")
    store = batch.workspace.home / "datastores" / "workspaceblobstore" / "here"
    store.mkdir(parents=True)
    (store / "d.txt").write_text("d")
    far = {"name": "far", "path": "https://example.test/far/", "type": "uri_folder"}
    (batch.workspace.home / "data_map.yml").write_text(f"https://example.test/far/: {store}\n")
    assets.create(batch.workspace, "data", far)
    assets.create(batch.workspace, "data", {"name": "table", "path": str(table), "type": "mltable"})
    found = []
    for given in (
        Given(path=str(table), type="mltable"),
        Given(path="azureml:table@latest"),
        Given(path="azureml://datastores/workspaceblobstore/paths/here/", type="uri_folder"),
        Given(path="azureml:far:1"),
    ):
        job = invoking.invoke(batch.workspace, "heart", Invocation(inputs={"data": given}))
        assert batch.end(job)["status"] == "Completed", batch.log(job)
        found.append((batch.output(job) / "predictions.csv").read_text())
    assert [text.splitlines() for text in found] == [["000.txt: a", "002.txt: c"]] * 2 + [["d.txt: d"]] * 2


def test_only_a_summary_leaves_what_the_script_writes_itself(batch: Batch) -> None:
    batch.deploy(output_action="summary_only")
    job = batch.begin(["a", "b"], output_path=str(batch.folder / "copied"))
    assert batch.end(job)["status"] == "Completed"
    assert sorted(path.name for path in batch.output(job).iterdir()) == ["000.txt.seen", "001.txt.seen"]
    assert (batch.folder / "copied" / "000.txt.seen").read_text() == "a"


def test_a_killed_process_is_replaced_and_its_files_are_done_again(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, max_concurrency_per_instance=2, output_file_name="out.csv")
    job = batch.begin(["a", "die", "b", "die", "c"])
    shown = batch.end(job)
    assert (shown["status"], shown["counts"]["retries"]) == ("Completed", 2), batch.log(job)
    assert len((batch.output(job) / "out.csv").read_text().splitlines()) == 5
    assert "failed and is tried again: the process of the code ended (exit code -9)" in batch.log(job)


def test_a_mini_batch_that_takes_too_long_fails_for_good_and_the_rest_goes_on(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, retry_settings="{max_retries: 1, timeout: 0.5}")
    job = batch.begin(["a", "hang", "b"])
    shown = batch.end(job)
    assert (shown["status"], shown["counts"]["files_failed"]) == ("Completed", 1), batch.log(job)
    assert "the code took more than 0.5 s" in batch.log(job)
    assert "1 of 3 files have failed, as many as may" in batch.log(job)


def test_more_failures_than_may_end_the_job(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, error_threshold=1, retry_settings="{max_retries: 0}")
    job = batch.begin(["bad", "bad", "a"])
    shown = batch.end(job)
    assert (shown["status"], shown["exit_code"]) == ("Failed", 3)
    reasons = "ValueError: cannot read 000.txt; ValueError: cannot read 001.txt"
    assert f"2 of 3 files have failed: {reasons}" in batch.log(job)
    assert (shown["counts"]["files_failed"], shown["counts"]["files_done"]) == (2, 0)
    with pytest.raises(NotFound):
        batch.output(job)


def test_each_file_that_failed_is_told_with_its_reason(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, retry_settings="{max_retries: 0}")
    job = batch.begin(["a", "bad", "b", "bad"])
    assert batch.end(job)["status"] == "Completed", batch.log(job)
    assert invoking.failures(batch.workspace, job) == [
        Failure(("001.txt",), "ValueError: cannot read 001.txt"),
        Failure(("003.txt",), "ValueError: cannot read 003.txt"),
    ]
    assert len(invoking.failures(batch.workspace, job, most=1)) == 1


def test_a_script_that_cannot_begin_ends_the_job_with_its_words(batch: Batch) -> None:
    batch.deploy("def init():\n    raise RuntimeError('no weights')\n\ndef run(files):\n    return files\n")
    job = batch.begin(["a"])
    assert batch.end(job)["status"] == "Failed"
    assert "error: the code cannot be loaded: RuntimeError: no weights" in batch.log(job)


def test_tables_tuples_and_texts_become_lines_without_a_header(batch: Batch) -> None:
    script = (
        "import pandas\n\ndef run(files):\n"
        "    if 'frame' in open(files[0]).read():\n"
        "        return pandas.DataFrame({'a': [1, 2], 'b': ['x', 'y, z']})\n"
        "    return [('t', 1.5), {'k': 'v'}, 'plain, text', 7]\n"
    )
    batch.deploy(script, mini_batch_size=1)
    job = batch.begin(["frame", "list"])
    assert batch.end(job)["counts"]["rows"] == 6
    text = (batch.output(job) / "predictions.csv").read_text()
    assert text == '1,x\n2,"y, z"\nt,1.5\nv\nplain, text\n7\n'


def test_a_killed_job_tells_the_truth_and_goes_on_where_it_was(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1)
    job = batch.begin(["a", "b", "slow 1", "slow 2", "slow 3", "slow 4"])
    deadline = time.monotonic() + LONG
    while invoking.counts(batch.workspace, job).files_done < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running = records.get(batch.workspace, job.name)
    assert running.shim
    psutil.Process(running.shim.pid).send_signal(signal.SIGKILL)
    while (shown := invoking.shown(batch.workspace, records.get(batch.workspace, job.name)))["status"] == "Running":
        time.sleep(0.05)
    assert (shown["status"], shown["outputs"]) == ("Failed", {})
    assert 2 <= shown["counts"]["files_done"] < 6
    again = invoking.resume(batch.workspace, job.name)
    ended = batch.end(again)
    assert (ended["status"], ended["counts"]["files_done"]) == ("Completed", 6), batch.log(again)
    assert "mini-batches were finished before" in batch.log(again)
    assert "mini-batch 1/6" not in batch.log(again)
    assert len((batch.output(again) / "predictions.csv").read_text().splitlines()) == 6
    with pytest.raises(Conflict, match="is Completed"):
        invoking.resume(batch.workspace, again.name)


def test_a_cancelled_job_leaves_no_process(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1)
    job = batch.begin(["slow"] * 20)
    while "mini-batch 1/20" not in (batch.log(job) if _logged(batch, job) else ""):
        time.sleep(0.05)
    submit.cancel(batch.workspace, job.name)
    assert batch.end(job)["status"] == "Canceled"
    assert not [p for p in psutil.process_iter() if _marked(p, job.name)]


@pytest.mark.slow
def test_a_model_of_mlflow_reads_tables_without_a_script(workspace: Workspace, tmp_path: Path) -> None:
    import pandas

    model, files = saved(tmp_path / "adder", "sklearn"), tmp_path / "files"
    files.mkdir()
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    table.to_csv(files / "one.csv", index=False)
    table.to_parquet(files / "two.parquet")
    table.to_json(files / "three.jsonl", orient="records", lines=True)
    deploying.put_endpoint(workspace, endpoint_files.BatchEndpointFile(name="adder"))
    path = tmp_path / "d.yml"
    path.write_text(f"name: a\nendpoint_name: adder\nmodel: {{path: {model}, type: mlflow_model}}\ncompute: c\n")
    with pytest.raises(Denied, match="can run code"):
        list(deploying.deploy(workspace, deployment_files.read(path)))
    list(deploying.deploy(workspace, deployment_files.read(path), allow_pickle=True))
    job = invoking.invoke(workspace, "adder", Invocation(inputs={"data": Given(path=str(files))}))
    assert submit.wait(workspace, job.name, seconds=LONG).status == "Completed"
    output = workspace.assets.path(workspace.assets.get("data", f"{job.name}-score"))
    rows = pandas.read_csv(output / "predictions.csv", names=["row", "prediction", "file"])
    assert rows["file"].tolist() == ["one.csv"] * 2 + ["three.jsonl"] * 2 + ["two.parquet"] * 2
    assert rows["row"].tolist() == [0, 1] * 3
    assert rows["prediction"].round(6).tolist() == [4.0, 6.0] * 3
    (files / "notes.md").write_text("x")
    with pytest.raises(Invalid, match=r"'notes.md' is nothing a model reads"):
        invoking.invoke(workspace, "adder", Invocation(inputs={"data": Given(path=str(files))}))


def test_a_model_of_mlflow_sees_images_as_arrays(workspace: Workspace, tmp_path: Path) -> None:
    import mlflow
    from PIL import Image

    class Brightness(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        # No annotations: MLflow takes them for a schema.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input.reshape(len(model_input), -1).mean(axis=1)

    mlflow.pyfunc.save_model(tmp_path / "model", python_model=Brightness(), pip_requirements=[])
    files = tmp_path / "files"
    files.mkdir()
    Image.new("RGB", (4, 4), (30, 60, 90)).save(files / "a.png")
    Image.new("L", (2, 3), 7).save(files / "b.jpg")
    deploying.put_endpoint(workspace, endpoint_files.BatchEndpointFile(name="light"))
    path = tmp_path / "d.yml"
    path.write_text(f"name: a\nendpoint_name: light\nmodel: {{path: {tmp_path / 'model'}}}\ncompute: c\n")
    list(deploying.deploy(workspace, deployment_files.read(path), allow_pickle=True))
    job = invoking.invoke(workspace, "light", Invocation(inputs={"data": Given(path=str(files))}))
    assert submit.wait(workspace, job.name, seconds=LONG).status == "Completed"
    output = workspace.assets.path(workspace.assets.get("data", f"{job.name}-score"))
    assert (output / "predictions.csv").read_text() == "0,60.0,a.png\n0,7.0,b.jpg\n"


def test_a_pipeline_of_one_command_runs_as_a_job(batch: Batch) -> None:
    path = batch.folder / "line.yml"
    path.write_text(PIPELINE)
    list(deploying.deploy(batch.workspace, deployment_files.read(path), default=True))
    with pytest.raises(Invalid, match="needs the input 'rows'"):
        invoking.invoke(batch.workspace, "heart", Invocation())
    named = inputs.read(parse_yaml("inputs:\n  rows: {path: files}\n  word: {type: string, value: hi}\n", path=path))
    batch.files(["one\n", "two\n"])
    job = invoking.invoke(batch.workspace, "heart", Invocation(inputs=named))
    assert batch.end(job)["status"] == "Completed", batch.log(job)
    assert batch.log(job) == "hi 3\n"
    output = batch.workspace.assets.path(batch.workspace.assets.get("data", f"{job.name}-counted"))
    assert "2 total" in (output / "n.txt").read_text()


def test_the_default_answers_and_a_batch_endpoint_is_no_name_for_a_chat(batch: Batch) -> None:
    batch.deploy(name="blue")
    assert deploying.chosen(batch.workspace, "heart").name == "blue"
    batch.deploy(name="green")
    with pytest.raises(NotFound, match="several deployments and no default"):
        deploying.chosen(batch.workspace, "heart")
    deploying.put_endpoint(batch.workspace, endpoint_files.BatchEndpointFile(name="heart", default="green"))
    assert deploying.chosen(batch.workspace, "heart").name == "green"
    deploying.withdraw(batch.workspace, "heart", "green")
    assert deploying.chosen(batch.workspace, "heart").name == "blue"
    assert "heart" not in addressable(batch.workspace)


def _logged(batch: Batch, job: JobRecord) -> bool:
    return (submit.job_folder(batch.workspace, job.name) / "1/user_logs/std_log.txt").exists()


def _marked(process: psutil.Process, name: str) -> bool:
    try:
        return bool(process.environ().get("STUDIOLO_JOB") == name) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


async def test_a_job_is_begun_and_followed_over_http(house: House, tmp_path: Path) -> None:
    batch = Batch(house.workspace, tmp_path)
    batch.deploy(mini_batch_size=1)
    data = house.workspace.assets.put("data", "texts", Path(batch.files(["a", "b"]).path))
    body = {"properties": {"InputData": {"x": {"JobInputType": "UriFolder", "Uri": f"azureml:{data.name}:1"}}}}
    begun = await house.http.post("/endpoints/heart/jobs", json=body)
    assert begun.status_code == 202
    where = begun.json()["status_uri"]
    deadline = time.monotonic() + LONG
    while (told := (await house.http.get(where)).json())["properties"]["status"] not in ("Completed", "Failed"):
        assert time.monotonic() < deadline
    assert told["properties"]["counts"]["files_done"] == 2
    assert told["properties"]["outputs"] == {"score": f"data:{told['name']}-score:1"}
    listed = (await house.http.get("/endpoints/heart/jobs")).json()["value"]
    assert [job["name"] for job in listed] == [told["name"]]
    assert (await house.http.get("/endpoints/heart/jobs/none")).status_code == 404
    assert (await house.http.post("/endpoints/mock/jobs", json=body)).status_code == 409
    wrong = {"properties": {"InputData": {"x": {"JobInputType": "Thing", "Uri": "azureml:a:1"}}}}
    refused = await house.http.post("/endpoints/heart/jobs", json=wrong)
    assert refused.json()["error"]["param"] == "properties.InputData.x.JobInputType"


async def test_another_key_reads_no_files_of_this_machine_and_asks_its_own_endpoints_only(
    house: House, tmp_path: Path
) -> None:
    batch = Batch(house.workspace, tmp_path)
    batch.deploy()
    viewer = {"authorization": f"Bearer {house.workspace.tokens.create('one', 'viewer', endpoints=['heart'])}"}
    other = {"authorization": f"Bearer {house.workspace.tokens.create('two', 'viewer', endpoints=['mock'])}"}

    async def begin(uri: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        data = {"InputData": {"x": {"JobInputType": "UriFolder", "Uri": uri}}, **more}
        return await house.http.post("/endpoints/heart/jobs", json={"properties": data}, headers=headers)

    elsewhere = ("azureml://datastores/workspaceblobstore/paths/x", "azureml://jobs/j/outputs/o", "https://x.test/a")
    for uri in ("/etc", "file:///etc", "./x", "~", *elsewhere):
        assert (await begin(uri, viewer)).status_code == 403, uri
    house.workspace.assets.put("data", "texts", Path(batch.files(["a"]).path))
    out = {"OutputData": {"score": {"Uri": str(tmp_path / "out")}}}
    assert (await begin("azureml:texts:1", viewer, **out)).status_code == 403
    assert (await begin("azureml:texts:1", other)).status_code == 403
    begun = await begin("azureml:texts:1", viewer)
    assert begun.status_code == 202
    assert (await house.http.get(begun.json()["status_uri"], headers=other)).status_code == 403
