"""Jobs on a real Ray head: what they read, say and leave, how they end, and what becomes of them when somebody dies."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs import records
from jobs.folders import AttemptFolder, attempt_folder
from jobs.leftovers import mark, marked
from jobs.ray.api import Asked, Head
from jobs.ray.attempts import submission
from jobs.ray.cluster import Cluster
from jobs.ray.conductor import ASKED, Conductor
from jobs.records import JobRecord
from jobs.submit import Wishes, cancel, stream, submit, wait
from tests.jobs.conftest import LONG, Submit, job_of, says, until
from workspace.home import Workspace
from workspace.settings import Settings

_MEASURE = """
import json, os, time, urllib.request
metric = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "speed", "value": 3.5, "timestamp": int(time.time() * 1000)}
headers = {"Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"], "Content-Type": "application/json"}
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
for pause in (1, 2, 4, 8, 0):  # as MLflow's client does
    try:
        urllib.request.urlopen(urllib.request.Request(address, json.dumps(metric).encode(), headers), timeout=30)
        break
    except OSError:
        time.sleep(pause)
"""
pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


@pytest.fixture
def workspace(tmp_path: Path, ray_head: Cluster) -> Iterator[Workspace]:
    settings = Settings(home=tmp_path / "home", ray_address=ray_head.url, ray_token_file=ray_head.token)
    with Workspace.open(settings=settings) as opened:
        yield opened


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path) -> Submit:
    """Submit a command to the cluster."""

    def submitted(command: str, rest: str = "", *, compute: str = "ray", **wishes: object) -> JobRecord:
        job = job_of(tmp_path, command, f"compute: {compute}\n{rest}")
        return submit(workspace, job, Wishes(**wishes))  # type: ignore[arg-type]

    return submitted


def head_of(cluster: Cluster) -> Head:
    return Head.of(cluster.url, cluster.token)


def process_of(workspace: Workspace, job: JobRecord, words: str) -> psutil.Process | None:
    """Return the process with these words in its command line that belongs to a job."""
    folder = str(attempt_folder(workspace.home, job.name, 1).path)
    for each in psutil.process_iter(["cmdline"]):
        line = " ".join(each.info["cmdline"] or [])
        if words in line and folder in line:
            return each
    return None


def test_a_command_runs_on_ray_and_its_output_becomes_an_asset(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    (tmp_path / "rows.txt").write_text("three\nshort\nrows\n")
    rest = "name: count\ninputs:\n  rows:\n    type: uri_file\n    path: rows.txt\noutputs:\n  count: {}\n"
    run("wc -l < ${{inputs.rows}} > ${{outputs.count}}/n.txt; mkdir -p outputs; echo $RAY_ADDRESS > outputs/a", rest)
    job = wait(workspace, "count", seconds=LONG)
    assert (job.status, job.exit_code, job.error) == ("Completed", 0, None)
    output = workspace.assets.path(workspace.assets.get("data", "count-count"))
    assert (output / "n.txt").read_text().strip() == "3"
    kept = workspace.runs.get(str(job.run_id)).directory / "artifacts/outputs/a"
    assert kept.read_text().strip(), "it did not run as a job of Ray's"
    assert job.usage["cpu_seconds"] > 0


def test_what_it_says_is_followed_byte_for_byte_and_its_exit_code_is_kept(workspace: Workspace, run: Submit) -> None:
    job = run("printf 'no line\\xff'; sleep 1; printf 'more\\n'; exit 7")
    assert b"".join(stream(workspace, job.name)) == b"no line\xffmore\n"
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 7)


def test_cancelling_a_job_on_ray_lets_it_save_and_leaves_nothing(
    workspace: Workspace, run: Submit, ray_head: Cluster
) -> None:
    job = run("trap 'echo saved; exit 0' TERM; (setsid sleep 300 &); echo on; while :; do sleep 0.1; done")
    says(workspace, job, b"on")
    cancel(workspace, job.name)
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.status == "Canceled"
    assert b"saved" in b"".join(stream(workspace, job.name))
    assert marked(mark(str(ended.run_id), 1)) == []
    until(lambda: (state := head_of(ray_head).state(submission(job.name, 1))) and state.ended, 15)


def test_a_job_that_ray_has_no_room_for_is_cancelled_while_it_waits(
    workspace: Workspace, run: Submit, ray_head: Cluster
) -> None:
    job = run("echo never", "resources:\n  properties:\n    cpus: 400\n")
    until(lambda: head_of(ray_head).state(submission(job.name, 1)))
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=LONG).status == "Canceled"
    assert b"".join(stream(workspace, job.name)) == b""


def test_a_killed_shim_is_followed_by_another_which_runs_nothing_twice(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    """And it reaches MLflow where it did before."""
    (tmp_path / "measure.py").write_text(_MEASURE)
    line = f"echo ran >> {tmp_path}/ran; echo one; while test ! -e {tmp_path}/go; do sleep 0.1; done; echo two"
    job = run(f"{line}; python {tmp_path}/measure.py; exit 3")
    says(workspace, job, b"one")
    shim = records.get(workspace, job.name).shim
    assert shim
    psutil.Process(shim.pid).kill()
    until(lambda: (now := records.get(workspace, job.name).shim) and now != shim)
    (tmp_path / "go").touch()
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code, ended.attempt) == ("Failed", 3, 1)
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert b"".join(stream(workspace, job.name)) == b"one\ntwo\n"
    assert workspace.runs.get(str(ended.run_id)).metrics["speed"] == 3.5


def test_where_who_follows_a_job_is_killed_another_one_follows(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    job = run(f"echo one; while test ! -e {tmp_path}/go; do sleep 0.1; done; echo two")
    says(workspace, job, b"one")
    first = process_of(workspace, job, "jobs.ray.conductor")
    assert first
    first.kill()
    until(lambda: not first.is_running() and process_of(workspace, job, "jobs.ray.conductor"))
    (tmp_path / "go").touch()
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 1)
    assert b"".join(stream(workspace, job.name)) == b"one\ntwo\n"


@pytest.mark.slow
def test_a_killed_driver_is_noticed_within_a_minute_and_followed_by_a_new_attempt(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    job = run(f"echo ran >> {tmp_path}/ran; echo on; test $(wc -l < {tmp_path}/ran) = 2 || sleep 300", retries=1)
    says(workspace, job, b"on")
    began = time.monotonic()
    driver = process_of(workspace, job, "entry.py")
    assert driver
    driver.kill()
    ended = wait(workspace, job.name, seconds=LONG)
    assert time.monotonic() - began < 60
    assert (ended.status, ended.attempt) == ("Completed", 2)
    assert [each.status for each in records.attempts(workspace, job.name)] == ["Lost", "Completed"]
    assert (tmp_path / "ran").read_text() == "ran\n" * 2


def test_ray_runs_no_submission_twice(ray_head: Cluster, tmp_path: Path) -> None:
    head = head_of(ray_head)
    asked = Asked(submission=f"once-{os.urandom(4).hex()}", entrypoint=f"echo ran >> {tmp_path}/ran")
    assert head.submit(asked)
    assert not head.submit(asked)
    until(lambda: (state := head.state(asked.submission)) and state.ended)
    assert not head.submit(asked)
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_who_follows_an_attempt_does_not_ask_another_head_for_it(ray_head: Cluster, tmp_path: Path) -> None:
    """The head that was asked has been replaced while nobody followed."""
    (tmp_path / ASKED).touch()
    name = f"gone-{os.urandom(4).hex()}"
    plan = {"url": ray_head.url, "token": ray_head.token, "submission": name, "shared": True, "tasks": ""}
    outcome = Conductor(plan, AttemptFolder(tmp_path), lambda _: None).run(0)
    assert outcome["ending"] == "Lost"
    assert "its head was replaced" in outcome["error"]
    assert head_of(ray_head).state(name) is None


@pytest.mark.slow
def test_a_job_over_its_time_limit_ends_on_ray_too(workspace: Workspace, run: Submit) -> None:
    ended = wait(workspace, run("sleep 300", "limits:\n  timeout: 8\n").name, seconds=LONG)
    assert ended.status == "Failed"
    assert "longer than its limit of 8 s" in str(ended.error)
    assert marked(mark(str(ended.run_id), 1)) == []


@pytest.mark.slow
def test_processes_of_pytorch_find_each_other_on_ray(workspace: Workspace, run: Submit) -> None:
    rest = "distribution:\n  type: pytorch\n  process_count_per_instance: 2\n"
    job = run("echo $RANK of $WORLD_SIZE", rest)
    assert sorted(b"".join(stream(workspace, job.name)).splitlines()) == [b"[0] 0 of 2", b"[1] 1 of 2"]


def test_the_records_hold_no_token(workspace: Workspace, run: Submit, ray_head: Cluster) -> None:
    job = wait(workspace, run("true").name, seconds=LONG)
    token = Path(ray_head.token).read_text()
    assert token not in json.dumps(dict(job.spec))
    folder = attempt_folder(workspace.home, job.name, 1).path
    assert not [path for path in folder.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert (Path(ray_head.token).stat().st_mode & 0o777) == 0o600


def test_a_cluster_that_does_not_take_our_token_is_told_apart_from_one_that_is_silent(
    workspace: Workspace, run: Submit, tmp_path: Path, ray_head: Cluster
) -> None:
    (tmp_path / "wrong").write_text("not the token")
    settings = Settings(home=tmp_path / "home", ray_address=ray_head.url, ray_token_file=str(tmp_path / "wrong"))
    with Workspace.open(settings=settings) as opened:
        job = submit(opened, job_of(tmp_path, "true", "compute: ray\n"))
        ended = wait(opened, job.name, seconds=LONG)
    assert ended.status == "Failed"
    assert "does not take our token" in str(ended.error)


def test_code_inputs_and_outputs_travel_where_no_files_are_shared(
    workspace: Workspace, run: Submit, ray_head: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/say.py").write_text("import sys, os\nprint(open(sys.argv[1]).read(), os.getcwd())\n")
    (tmp_path / "rows.bin").write_bytes(content := os.urandom(100_000))
    rest = (
        "name: far\ncode: src\ninputs:\n  rows:\n    type: uri_file\n    path: rows.bin\n"
        "outputs:\n  copy: {}\n  one:\n    type: uri_file\n"
    )
    line = (
        "cp ${{inputs.rows}} ${{outputs.copy}}/rows; echo 1 > ${{outputs.one}}; mkdir -p outputs; pwd > outputs/where; "
        "printf 'bytes\\xff'"
    )
    run(line, rest, compute=f"{ray_head.url}?files=upload")
    job = wait(workspace, "far", seconds=LONG)
    assert (job.status, job.error) == ("Completed", None)
    assert b"".join(stream(workspace, "far")) == b"bytes\xff"
    copied = workspace.assets.path(workspace.assets.get("data", "far-copy")) / "rows"
    assert copied.read_bytes() == content
    assert workspace.assets.path(workspace.assets.get("data", "far-one")).read_text() == "1\n"
    where = (workspace.runs.get(str(job.run_id)).directory / "artifacts/outputs/where").read_text().strip()
    assert not where.startswith(str(tmp_path))


def test_a_link_that_leads_out_of_what_is_brought_back_fails_the_job_and_says_why(
    workspace: Workspace, run: Submit, ray_head: Cluster
) -> None:
    line = "echo said; mkdir outputs; ln -s /etc/hostname outputs/link"
    job = run(line, "name: leads-out\n", compute=f"{ray_head.url}?files=upload", retries=1)
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Failed", 1)
    assert "its outputs cannot be brought back" in str(ended.error)
    assert b"".join(stream(workspace, job.name)) == b"said\n"


@pytest.mark.slow
def test_packages_of_an_environment_are_installed_where_no_files_are_shared(
    workspace: Workspace, run: Submit, ray_head: Cluster
) -> None:
    rest = "environment:\n  image: ubuntu\n  conda_file:\n    dependencies:\n      - pip:\n        - iniconfig==2.1.0\n"
    line = "python -c 'import importlib.metadata as m; print(m.version(\"iniconfig\"))'"
    job = run(line, rest, compute=f"{ray_head.url}?files=upload")
    said = b"".join(stream(workspace, job.name))
    ended = wait(workspace, job.name, seconds=3 * LONG)
    assert (ended.status, ended.error) == ("Completed", None), said
    assert said.splitlines()[-1] == b"2.1.0"


@pytest.mark.slow
def test_a_head_that_dies_is_noticed_within_a_minute(tmp_path: Path) -> None:
    """Fault 20. It has a head of its own, which is killed with all that belongs to it."""
    pytest.importorskip("ray")
    from jobs.ray import cluster

    settings = Settings(home=tmp_path / "home")
    own = cluster.up(settings, cpus=1)
    try:
        with Workspace.open(settings=settings) as workspace:
            job = submit(workspace, job_of(tmp_path, "echo on; sleep 300", "compute: ray\n"))
            says(workspace, job, b"on")
            head = psutil.Process(own.pid)
            for each in [head, *head.children(recursive=True)]:
                each.send_signal(signal.SIGKILL)
            began = time.monotonic()
            ended = wait(workspace, job.name, seconds=LONG)
            assert time.monotonic() - began < 60
            assert ended.status == "Failed"
            assert "has not answered for 30 s" in str(ended.error)
            assert [each.status for each in records.attempts(workspace, job.name)] == ["Lost"]
            assert marked(mark(str(ended.run_id), 1)) == []
    finally:
        cluster.down(settings)
    assert not Path(own.folder).exists()
