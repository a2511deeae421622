"""Every example of jobs is as Azure ML's package reads it, and runs."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune import components
from jobs import assets, consent, records
from jobs.create import create
from jobs.events import rules
from jobs.events.deliveries import Courier
from jobs.files import read, read_job, read_schedule
from jobs.records import JobRecord
from jobs.schedules import firing, store
from jobs.schedules.definition import of_job
from jobs.submit import stream, wait
from serving import endpoints
from tests.jobs import verdicts
from tests.jobs.conftest import LONG
from tests.serving.scoring_engine import engine
from workspace.home import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples" / "jobs"
# What `$schema` says, where that is not the kind itself.
KINDS = {
    "monitorSchedule": "schedule",
    "azureBlob": "datastore",
    "workspaceConnection": "connection",
    "amlCompute": "compute",
    "MLTable": "mltable",
}
SCHEDULES = ("weekdays", "hourly")
SCHEMA = re.compile(r"\$schema: https://azuremlschemas.azureedge.net/latest/(\w+).schema.json\n")


def files() -> list[Path]:
    found = [*EXAMPLES.rglob("*.yml"), *EXAMPLES.rglob("MLTable")]
    return sorted(path for path in found if path.name != "conda.yml")


def kind(path: Path) -> str:
    said = SCHEMA.match(path.read_text())
    assert said, f"{path} does not say its $schema"
    word = re.sub(r"^.*(Job|Component)$", lambda end: end[1].lower(), said[1])
    return KINDS.get(word, word)


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.fixture(autouse=True, scope="module")
def kept_environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Environments are made once for all examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("UV_PYTHON_DOWNLOADS", "never")
        yield


def run(workspace: Workspace, name: str, *, seconds: float = LONG) -> JobRecord:
    """Run an example to its end: `run(workspace, "hello/job.yml")`."""
    job = wait(workspace, create(workspace, read_job(EXAMPLES / name)).name, seconds=seconds)
    assert job.status == "Completed", f"{job.error}\n{said(workspace, job)}"
    return job


def said(workspace: Workspace, job: JobRecord) -> str:
    return b"".join(stream(workspace, job.name)).decode()


def output(workspace: Workspace, job: JobRecord, name: str, *, kind: str = "data") -> Path:
    """Return where an output of a job lies."""
    return workspace.assets.path(workspace.assets.get(kind, f"{job.name}-{name}"))


def test_there_are_enough_of_them_of_every_kind() -> None:
    assert len({path.relative_to(EXAMPLES).parts[0] for path in files()}) >= 20
    assert {kind(path) for path in files()} >= {
        "job", "component", "data", "mltable", "environment", "model", "datastore", "connection", "compute",
        "registry", "schedule",
    }  # fmt: skip
    assert all((folder / "README.md").is_file() for folder in EXAMPLES.iterdir())


@pytest.mark.parametrize("path", files(), ids=named)
def test_an_example_is_read_as_strictly_as_azure_ml_reads_it(path: Path) -> None:
    found = read(kind(path), path, strict=True)
    assert [str(each) for each in found.findings if each.weight != "note"] == []


@pytest.mark.slow
def test_the_real_package_takes_every_example(request: pytest.FixtureRequest) -> None:
    try:
        with verdicts.azure(request.config.cache.mkdir("azure-ai-ml")) as azure:
            said = {named(path): azure.verdict(kind(path), path) for path in files()}
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"{verdicts.PACKAGE} cannot be installed here: {error}")
    assert {name: reason for name, reason in said.items() if reason} == {}


def test_hello(workspace: Workspace) -> None:
    assert said(workspace, run(workspace, "hello/job.yml")).startswith("hello, world\nPython 3")


def test_inputs_of_every_type(workspace: Workspace) -> None:
    job = run(workspace, "inputs-of-every-type/job.yml")
    assert '"written"' in output(workspace, job, "report").read_text()


def test_outputs_registered(workspace: Workspace) -> None:
    job = run(workspace, "outputs-registered/job.yml")
    model = workspace.assets.path(workspace.assets.get("model", "line:7"))
    assert (model / "line.json").read_text() == '{"slope": 2.0, "start": 1.0}'
    scored = workspace.assets.path(workspace.assets.get("data", "scored-rows"))
    assert (scored / "rows.csv").read_text().startswith("0.0,1.0\n")
    assert output(workspace, job, "report").read_text() == '{"error": 0.0}'


def test_settings_of_a_command(workspace: Workspace) -> None:
    job = run(workspace, "settings-of-a-command/job.yml")
    assert (job.name, job.attempt) == ("settings_of_a_command", 2)
    assert said(workspace, job).count("hello 0.01 True in examples") == 2


def test_code_without_secrets(workspace: Workspace) -> None:
    job = run(workspace, "code-without-secrets/job.yml")
    seen = output(workspace, job, "seen").read_text().split()
    assert "main.py" in seen
    assert not {"fake.key", "notes"} & set(seen)


def test_distribution_pytorch(workspace: Workspace) -> None:
    job = run(workspace, "distribution-pytorch/job.yml")
    sums = sorted(path.read_text() for path in output(workspace, job, "sums").iterdir())
    assert sums == ["21 local 0 of 2\n", "21 local 1 of 2\n"]


def test_distribution_mpi(workspace: Workspace) -> None:
    job = run(workspace, "distribution-mpi/job.yml")
    ranks = sorted(path.read_text() for path in output(workspace, job, "ranks").iterdir())
    assert ranks == ["0 of 2\n", "1 of 2\n"]


def test_distribution_tensorflow(workspace: Workspace) -> None:
    job = run(workspace, "distribution-tensorflow/job.yml")
    roles = {path.name: path.read_text() for path in output(workspace, job, "roles").iterdir()}
    assert set(roles) == {"ps-0.json", "worker-0.json", "worker-1.json"}
    assert set(roles.values()) == {'{"ps": 1, "worker": 2}'}


def test_pipeline_inline(workspace: Workspace) -> None:
    job = run(workspace, "pipeline-inline/pipeline.yml")
    assert output(workspace, job, "report").read_text().split() == ["the", "and"]


def test_pipeline_components(workspace: Workspace) -> None:
    job = run(workspace, "pipeline-components/pipeline.yml")
    assert (output(workspace, job, "model") / "line.json").read_text().endswith('"power": 1}')
    assert output(workspace, job, "report").read_text() == '{"rows": 3, "weights": "weight"}'


def test_pipeline_nested(workspace: Workspace) -> None:
    job = run(workspace, "pipeline-nested/pipeline.yml")
    assert output(workspace, job, "total").read_text() == "25\n"


def test_pipeline_registered(workspace: Workspace) -> None:
    for name in ("shout", "whisper"):
        assets.create(workspace, "component", EXAMPLES / f"pipeline-registered/components/{name}.yml")
    job = run(workspace, "pipeline-registered/pipeline.yml")
    assert output(workspace, job, "said").read_text() == "(HELLO THERE)\n"


def test_pipeline_goes_on(workspace: Workspace) -> None:
    job = wait(workspace, create(workspace, read_job(EXAMPLES / "pipeline-goes-on/pipeline.yml")).name, seconds=LONG)
    assert job.status == "Failed"
    assert "step 'broken' failed: exit code 3" in str(job.error)
    assert {
        each.name.removeprefix(f"{job.name}_"): each.status for each in records.list_jobs(workspace, parent=job.name)
    } == {
        "broken": "Failed",
        "other": "Completed",
    }


def test_pipeline_reuse(workspace: Workspace) -> None:
    first, second = (run(workspace, "pipeline-reuse/pipeline.yml") for _ in range(2))
    one, other = (output(workspace, job, "stamp").read_text().split() for job in (first, second))
    assert one[0] == other[0] == "made"
    assert one[1] != other[1]
    assert "slow" in said(workspace, second)
    assert [
        each.name for each in records.list_jobs(workspace, parent=second.name) if "slow" in each.name and each.attempt
    ] == []


def test_pipeline_of_all_kinds(workspace: Workspace) -> None:
    job = run(workspace, "pipeline-of-all-kinds/pipeline.yml")
    assert sorted(output(workspace, job, "found").read_text().splitlines()) == ["one.txt 4", "two.txt 2"]


SLOW = pytest.mark.slow  # as others of their kind, which are run always


@pytest.mark.parametrize("name", [pytest.param("random", marks=SLOW), "grid", pytest.param("bayesian", marks=SLOW)])
def test_sweep(workspace: Workspace, name: str) -> None:
    job = run(workspace, f"sweep-{name}/sweep.yml")
    trials = records.list_jobs(workspace, parent=job.name)
    assert len(trials) == {"random": 4, "grid": 6, "bayesian": 6}[name]
    assert {trial.status for trial in trials} == {"Completed"}
    assert job.tags["best_child_run_id"] in {trial.run_id for trial in trials}
    if name == "grid":
        assert (output(workspace, job, "found") / "place.txt").read_text() == "2\n"


@pytest.mark.parametrize("name", ["bandit", pytest.param("median", marks=SLOW), pytest.param("truncation", marks=SLOW)])
def test_sweep_that_ends_trials_early(workspace: Workspace, name: str) -> None:
    job = run(workspace, f"sweep-{name}/sweep.yml")
    ended = {trial.name.rpartition("_")[2]: trial.status for trial in records.list_jobs(workspace, parent=job.name)}
    assert ended["0"] == "Completed"
    assert ended["3"] == "Canceled"
    assert job.tags["studiolo.best_trial"] == f"{job.name}_0"


def test_parallel_files(workspace: Workspace) -> None:
    job = run(workspace, "parallel-files/pipeline.yml")
    scored = sorted(output(workspace, job, "scored").read_text().splitlines())
    assert scored == ["a.txt 2", "b.txt 4", "c.txt 6", "d.txt 8", "e.txt 10"]


def test_flow_if_else(workspace: Workspace) -> None:
    job = run(workspace, "flow-if-else/pipeline.yml")
    ran = {each.name.removeprefix(f"{job.name}_") for each in records.list_jobs(workspace, parent=job.name)}
    assert ran == {"look", "train"}


def test_flow_do_while(workspace: Workspace) -> None:
    job = run(workspace, "flow-do-while/pipeline.yml")
    assert output(workspace, job, "number").read_text() == "32\n"


def test_flow_parallel_for(workspace: Workspace) -> None:
    job = run(workspace, "flow-parallel-for/pipeline.yml")
    squares = [
        output(workspace, each, "square").read_text()
        for each in records.list_jobs(workspace, parent=job.name)
        if each.status == "Completed"
    ]
    assert sorted(squares) == ["1\n", "4\n", "9\n"]


def test_assets(workspace: Workspace) -> None:
    files = {"data": "data", "table": "data", "environment": "environment", "model": "model", "component": "component"}
    for name, of in files.items():
        assert assets.create(workspace, of, EXAMPLES / "assets" / f"{name}.yml")["version"] == "1"
    for name in ("datastore", "connection", "compute", "registry"):
        shown = assets.create(workspace, name, EXAMPLES / "assets" / f"{name}.yml")
        assert "not-a-secret" not in str(shown)
        assert assets.show(workspace, name, shown["name"]) == shown
    job = run(workspace, "assets/job.yml")
    assert output(workspace, job, "seen").read_text().split() == ["day,sold", "MLTable", "north.csv", "2", "1"]


def test_schedules(workspace: Workspace) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp()  # a Friday
    made = {
        name: store.put(workspace, read_schedule(EXAMPLES / f"schedules/{name}.yml"), now=now) for name in SCHEDULES
    }
    due = [datetime.fromtimestamp(moment, UTC).isoformat() for moment in made["weekdays"].upcoming(now, 1)]
    assert due == ["2026-05-04T05:00:00+00:00"]  # seven in Berlin, in summer
    for name, parameters, whom in (("hourly", {}, "everybody"), ("weekdays", {"inputs": {"whom": "you"}}, "you")):
        fired, _ = firing.trigger(workspace, name, parameters, now=now)
        job = wait(workspace, fired.job, seconds=LONG)
        assert job.status == "Completed", job.error
        assert output(workspace, job, "said").read_text() == f"hello, {whom}\n"


def test_monitor(workspace: Workspace) -> None:
    store.put(workspace, read_schedule(EXAMPLES / "monitor/monitor.yml"), now=time.time())
    fired, _ = firing.trigger(workspace, "loans", now=time.time())
    job = wait(workspace, fired.job, seconds=LONG)
    assert job.status == "Completed", job.error
    told = [line for line in said(workspace, job).splitlines() if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in told] == ["applicants", "forms"]
    assert "age normalized_wasserstein_distance" in told[0]
    assert "town out_of_bounds_rate" in told[1]


def test_transfer(workspace: Workspace, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("CREATE TABLE sales (day TEXT, sold INTEGER)")
        shop.execute("INSERT INTO sales VALUES ('mon', 2), ('mon', 3), ('tue', 1)")
    leads = (("target", f"sqlite:///{tmp_path / 'shop.db'}"),)
    assets.create(workspace, "connection", EXAMPLES / "transfer/shop.yml", leads)
    job = run(workspace, "transfer/pipeline.yml")
    assert (output(workspace, job, "seen") / "files.txt").read_text().split() == ["MLTable", "part-0.parquet"]
    assert shop.execute("SELECT * FROM prices").fetchall() == [("bread", 2.5), ("milk", 1.25)]
    shop.close()


def test_triggers(workspace: Workspace, tmp_path: Path) -> None:
    now, told = time.time(), tmp_path / "ended.txt"
    store.put(workspace, of_job(read_job(EXAMPLES / "triggers/pipeline.yml"), "greet"), now=now)
    command = (sys.executable, str(EXAMPLES / "triggers/tell.py"), str(told))
    rules.create(workspace, rules.Rule(name="ended", types=("RunCompleted",), command=command))
    asked = {"inputs": {"whom": "you"}}
    again = [firing.trigger(workspace, "greet", asked, now=now, cause="http", key="build-1") for _ in range(2)]
    assert [is_new for _, is_new in again] == [True, False]
    job = wait(workspace, again[0][0].job, seconds=LONG)
    assert output(workspace, job, "said").read_text() == "hello, you\n"
    courier = Courier(workspace)
    courier.tick(time.time())
    courier.wait()
    courier.close()
    assert told.read_text().splitlines()[-1].startswith("RunCompleted experiments/")
    assert job.name in told.read_text()


@pytest.mark.slow
def test_pipeline_classical(workspace: Workspace) -> None:
    for name in components.names():
        assets.create(workspace, "component", components.file(name))
    job = run(workspace, "pipeline-classical/pipeline.yml", seconds=300)
    assert consent.objection(output(workspace, job, "model", kind="model")) is None
    report = output(workspace, job, "report")
    assert json.loads((report / "metrics.json").read_text())["auc"] > 0.95
    assert "Are chances true?" in (report / "report.html").read_text()
    (trained,) = (each for each in records.list_jobs(workspace, parent=job.name) if each.name.endswith("_train"))
    assert workspace.runs.metrics(str(trained.run_id), "training_accuracy")[-1].value > 0.95
    assert workspace.runs.get(str(trained.run_id)).params["n_estimators"] == "60"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_autolog(workspace: Workspace) -> None:
    job = run(workspace, "autolog/job.yml", seconds=300)
    record = workspace.runs.get(str(job.run_id))
    assert record.params["logisticregression__C"] == "0.5"
    assert workspace.runs.metrics(record.run_id, "test_accuracy")[-1].value > 0.95
    said = {"name": "tumours", "type": "mlflow_model", "path": f"runs:/{record.run_id}/model"}
    model = workspace.assets.get("model", assets.create(workspace, "model", said)["name"])
    endpoints.put(workspace, "tumours")
    blue = endpoints.put_deployment(workspace, "tumours", "blue", engine="mlflow", model=model.ref)
    with engine(workspace, blue) as client:
        answer = client.post("/score", json={"input_data": [[1.0] * 30, [20.0] * 30]})
    assert set(answer.json()) <= {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["environment-conda", "environment-requirements"])
def test_environment(workspace: Workspace, name: str) -> None:
    job = run(workspace, f"{name}/job.yml", seconds=300)
    expected = {"environment-conda": "1.2 million (3, 11)", "environment-requirements": "3rd"}[name]
    assert expected in output(workspace, job, "said").read_text()


@pytest.mark.slow
def test_environment_curated(workspace: Workspace) -> None:
    job = run(workspace, "environment-curated/job.yml", seconds=600)
    assert workspace.runs.metrics(str(job.run_id), "accuracy")[-1].value > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parallel-bytes", "parallel-partitions"])
def test_parallel_table(workspace: Workspace, name: str) -> None:
    job = run(workspace, f"{name}/pipeline.yml", seconds=300)
    rows = sorted(output(workspace, job, "scored").read_text().splitlines())
    assert len(rows) == {"parallel-bytes": 60, "parallel-partitions": 2}[name]
    assert rows[-1].startswith("south ")


@pytest.mark.slow
def test_spark(workspace: Workspace) -> None:
    job = run(workspace, "spark/job.yml", seconds=600)
    words = (output(workspace, job, "counts") / "words" / "part-00000").read_text().splitlines()
    assert words == ["be 2", "not 1", "or 1", "to 2"]


@pytest.mark.slow
@pytest.mark.ray
def test_distribution_ray(workspace: Workspace) -> None:
    job = run(workspace, "distribution-ray/job.yml", seconds=600)
    assert output(workspace, job, "squares").read_text() == "0 1 4 9 16"
