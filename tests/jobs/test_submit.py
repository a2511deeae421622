"""Jobs from submit to their one end: results, failures, cancelling, limits, what they see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobs import folders, reconcile, records
from jobs.folders import attempt_folder, outputs_of
from jobs.leftovers import mark, marked
from jobs.needs import Needs
from jobs.submit import cancel, stream, submit, wait
from tests.jobs.conftest import LONG, Submit, job_of, says, until
from workspace.errors import Conflict, Invalid
from workspace.home import Workspace
from workspace.settings import Settings


def test_a_command_reads_its_inputs_and_its_output_becomes_an_asset(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    (tmp_path / "rows.txt").write_text("three\nshort\nrows\n")
    rest = "name: count\ninputs:\n  rows:\n    type: uri_file\n    path: rows.txt\noutputs:\n  count: {}\n"
    run("wc -l < ${{inputs.rows}} > ${{outputs.count}}/n.txt", rest)
    job = wait(workspace, "count", seconds=LONG)
    assert (job.status, job.exit_code, job.error) == ("Completed", 0, None)
    output = workspace.assets.get("data", "count-count")
    assert (workspace.assets.path(output) / "n.txt").read_text().strip() == "3"
    assert (outputs_of(workspace.home, "count") / "count/n.txt").read_text().strip() == "3"
    assert output.ref in {edge.target for edge in workspace.lineage.downstream(f"run:{job.run_id}")}
    assert "data:rows-rows:1" in {edge.source for edge in workspace.lineage.upstream(f"run:{job.run_id}")}
    assert workspace.runs.get(str(job.run_id)).status == "FINISHED"


def test_an_output_with_a_name_becomes_an_asset_of_that_name(workspace: Workspace, run: Submit) -> None:
    rest = "outputs:\n  model:\n    type: custom_model\n    name: tiny\n    version: 7\n  row:\n    type: uri_file\n"
    job = run("echo w > ${{outputs.model}}/w && echo r > ${{outputs.row}}", f"name: train\n{rest}")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    assert (workspace.assets.path(workspace.assets.get("model", "tiny:7")) / "w").read_text() == "w\n"
    assert workspace.assets.path(workspace.assets.get("data", "train-row")).read_text() == "r\n"


def test_an_output_that_cannot_be_registered_fails_the_job_and_says_why(workspace: Workspace, run: Submit) -> None:
    workspace.assets.put("data", "taken", b"other", version="1")
    rest = "outputs:\n  rows:\n    name: taken\n    version: 1\n"
    job = wait(workspace, run("echo x > ${{outputs.rows}}/x", rest).name, seconds=LONG)
    assert (job.status, job.exit_code) == ("Failed", 0)
    assert "taken:1 exists with other content" in str(job.error)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../../out", "a/b", "..", ""])
def test_an_output_lies_in_the_folder_of_its_job(workspace: Workspace, run: Submit, name: str) -> None:
    with pytest.raises(Invalid, match="cannot name"):
        run("true", f'outputs:\n  "{name}": {{}}\n')
    assert records.list_jobs(workspace) == []


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", ".x", "a b", "é", "x" * 256, *folders.TAKEN])
def test_a_job_has_a_folder_of_its_own(workspace: Workspace, run: Submit, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of a job"):
        run("true", f"name: {json.dumps(name)}\n")
    assert records.list_jobs(workspace) == []


def test_what_lies_beside_the_folders_of_jobs_is_no_name_of_one(workspace: Workspace, run: Submit) -> None:
    (workspace.home / "rows.txt").write_text("x")
    rest = f"inputs:\n  rows: {{type: uri_file, path: {workspace.home / 'rows.txt'}}}\n"
    wait(workspace, run("true", rest).name, seconds=LONG)
    assert {each.name for each in (workspace.home / "jobs").iterdir() if not each.name.startswith("job_")} <= {
        *folders.TAKEN, *(each.name for each in records.list_jobs(workspace)),
    }  # fmt: skip


def test_a_job_from_a_folder_of_any_name_is_called_after_it(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "données"
    folder.mkdir()
    job = submit(workspace, job_of(folder, "true"))
    assert job.name.startswith("donn_es_")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_a_failing_command_keeps_its_exit_code_and_its_log(workspace: Workspace, run: Submit) -> None:
    run("echo before; exit 7", "name: seven\n")
    assert b"".join(stream(workspace, "seven")) == b"before\n"
    job = wait(workspace, "seven", seconds=LONG)
    assert (job.status, job.exit_code) == ("Failed", 7)
    assert workspace.runs.get(str(job.run_id)).status == "FAILED"


def test_a_job_is_found_by_the_id_of_its_run(workspace: Workspace, run: Submit) -> None:
    job = run("echo $AZUREML_RUN_ID $MLFLOW_RUN_ID")
    assert b"".join(stream(workspace, job.name)).decode().split() == [job.run_id, job.run_id]
    assert records.get(workspace, str(job.run_id)).name == job.name


def test_cancelling_ends_every_process_also_one_that_left_the_group_and_cleared_its_environment(
    workspace: Workspace, run: Submit
) -> None:
    job = run("(setsid sleep 30071 &) ; (setsid env -i /bin/sleep 30072 &) ; echo on; sleep 30073", "name: slow\n")
    says(workspace, job, b"on")
    assert cancel(workspace, "slow").status == "CancelRequested"
    ended = wait(workspace, "slow", seconds=LONG)
    assert ended.status == "Canceled"
    lines = [str(each.info["cmdline"]) for each in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if "sleep', '3007" in line]
    assert workspace.runs.get(str(ended.run_id)).status == "KILLED"


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(workspace: Workspace, run: Submit) -> None:
    job = run("trap '' TERM; echo on; while true; do sleep 0.1; done", "name: deaf\n")
    says(workspace, job, b"on")
    began = time.monotonic()
    cancel(workspace, "deaf")
    assert wait(workspace, "deaf", seconds=LONG).status == "Canceled"
    assert 9.0 < time.monotonic() - began < 12.5


def test_a_stopped_job_can_be_cancelled(workspace: Workspace, run: Submit) -> None:
    job = run("echo on; kill -STOP $$; sleep 100")
    says(workspace, job, b"on")
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=8).status == "Canceled"


def test_a_queued_job_is_cancelled_at_once(workspace: Workspace, run: Submit) -> None:
    job = run("sleep 100", needs=Needs(cpus=len(os.sched_getaffinity(0))))
    until(lambda: records.get(workspace, job.name).status == "Running")
    waiting = run("echo never")
    assert waiting.status == "Queued"
    assert cancel(workspace, waiting.name).status == "Canceled"
    cancel(workspace, job.name)
    wait(workspace, job.name, seconds=LONG)
    assert list(stream(workspace, waiting.name)) == []
    assert not attempt_folder(workspace.home, waiting.name, 1).path.exists()


def test_a_job_over_its_time_limit_fails_says_so_and_is_not_tried_again(workspace: Workspace, run: Submit) -> None:
    job = run("sleep 300", "name: late\nlimits:\n  timeout: 1\n", retries=3)
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Failed", 1)
    assert "longer than its limit of 1 s" in str(ended.error)


def test_a_failing_job_is_tried_again_as_often_as_it_may_each_time_in_a_folder_of_its_own(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    counted = f"touch {tries}/$$; test $(ls {tries} | wc -l) -gt 2"
    job = run(f"echo try; test -e out && echo old; touch out; {counted} || exit 9", retries=5)
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 3)
    assert b"".join(stream(workspace, job.name)) == b"try\ntry\ntry\n"
    assert [(each.status, each.exit_code) for each in records.attempts(workspace, job.name)] == [
        ("Failed", 9), ("Failed", 9), ("Completed", 0),
    ]  # fmt: skip
    assert ended.usage["cpu_seconds"] > 0


def test_of_a_job_that_fails_every_time_the_last_failure_is_told(workspace: Workspace, run: Submit) -> None:
    ended = wait(workspace, run("kill -9 $$", "properties:\n  studiolo.retries: 2\n").name, seconds=LONG)
    assert (ended.status, ended.exit_code, ended.attempt) == ("Failed", -9, 3)


def test_a_name_is_given_once(workspace: Workspace, run: Submit) -> None:
    run("true", "name: twice\n")
    with pytest.raises(Conflict):
        run("true", "name: twice\n")
    wait(workspace, "twice", seconds=LONG)


def test_a_command_sees_no_secrets_of_ours(workspace: Workspace, run: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "canary-7f3a")
    assert b"canary" not in b"".join(stream(workspace, run("env").name))


def test_a_command_finds_azures_variables(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    rest = (
        "experiment_name: trial\nname: vars\nenvironment_variables:\n  RATE: 0.1\n  FLAG: true\n"
        "inputs:\n  data:\n    type: uri_file\n    path: x.csv\n  rate: 0.5\noutputs:\n  model: {}\n"
    )
    run("env", rest)
    lines = b"".join(stream(workspace, "vars")).decode().splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert (found["RATE"], found["FLAG"]) == ("0.1", "True")
    assert found["AZUREML_EXPERIMENT_NAME"] == found["MLFLOW_EXPERIMENT_NAME"] == "trial"
    assert (found["AZUREML_CR_NODE_RANK"], found["NODE_RANK"], found["AZURE_ML_INPUT_rate"]) == ("0", "0", "0.5")
    assert found["AZURE_ML_INPUT_data"] == found["AZUREML_DATAREFERENCE_data"]
    assert found["AZURE_ML_INPUT_data"].endswith("/inputs/data/x.csv")
    assert found["AZURE_ML_OUTPUT_model"].endswith("/vars/1/outputs/model")
    assert found["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")


def test_what_lies_in_outputs_and_logs_is_kept_with_the_run_also_of_a_job_that_failed(
    workspace: Workspace, run: Submit
) -> None:
    job = run("mkdir -p outputs/deep logs; echo m > outputs/deep/m; echo l > logs/l; exit 3")
    ended = wait(workspace, job.name, seconds=LONG)
    artifacts = workspace.runs.get(str(ended.run_id)).directory / "artifacts"
    assert (artifacts / "outputs/deep/m").read_text() == "m\n"
    assert (artifacts / "logs/l").read_text() == "l\n"
    assert (artifacts / "user_logs/std_log.txt").exists()


def test_of_two_attempts_one_may_leave_a_folder_where_the_other_left_a_file(workspace: Workspace, run: Submit) -> None:
    first = "mkdir -p outputs/was_folder; echo 1 > outputs/was_file; exit 1"
    then = "mkdir -p outputs/was_file; echo 2 > outputs/was_folder; echo 2 > outputs/was_file/x"
    ended = wait(workspace, run(f"[ -e ../../2 ] || {{ {first}; }}; {then}", retries=1).name, seconds=LONG)
    assert (ended.status, ended.attempt) == ("Completed", 2)
    left = workspace.runs.get(str(ended.run_id)).directory / "artifacts/outputs"
    assert ((left / "was_folder").read_text(), (left / "was_file/x").read_text()) == ("2\n", "2\n")


def test_what_can_never_be_kept_fails_the_job_and_is_not_tried_for_ever(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for number, path in enumerate([tmp_path / "file/below", "/sys/below"]):
        job = run("echo x > ${{outputs.o}}/x", f"name: n{number}\noutputs:\n  o: {{path: '{path}'}}\n")
        ended = wait(workspace, job.name, seconds=LONG)
        assert (ended.status, ended.exit_code) == ("Failed", 0)
        assert f"cannot write {path}" in str(ended.error)


def test_an_ending_that_breaks_fails_its_job_and_no_other(workspace: Workspace, run: Submit) -> None:
    no_text = """touch "$(printf '${{outputs.o}}/\\377')" """
    job = run(no_text, "outputs:\n  o: {}\n")
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 0)
    assert "UnicodeEncodeError" in str(ended.error)
    assert wait(workspace, run("true").name, seconds=LONG).status == "Completed"


def test_more_than_this_machine_has_is_refused_at_once(run: Submit) -> None:
    with pytest.raises(Invalid, match="needs 4096 CPUs"):
        run("true", "resources:\n  properties:\n    cpus: 4096\n")


def test_what_a_job_asks_for_is_read_from_its_file(workspace: Workspace, run: Submit) -> None:
    rest = "resources:\n  properties:\n    cpus: 0.5\n    memory: 100m\nqueue_settings:\n  priority: high\n"
    job = run("true", rest)
    assert job.needs == Needs(cpus=0.5, memory=100 * 2**20)
    assert job.priority == -1
    wait(workspace, job.name, seconds=LONG)


def test_the_submitter_may_die_at_once(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text("name: alone\ncommand: sleep 0.3; echo done\n")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom jobs.files import read_job\nfrom jobs.submit import submit\n"
        "from workspace.home import Workspace\n"
        "submit(Workspace.open(Path(sys.argv[1])), read_job(Path(sys.argv[2])))\nos.kill(os.getpid(), 9)\n"
    )
    line = [sys.executable, "-c", code, str(workspace.home), str(tmp_path / "job.yml")]
    assert subprocess.run(line, check=False).returncode == -signal.SIGKILL
    assert wait(workspace, "alone", seconds=LONG).status == "Completed"


@pytest.mark.postgres
def test_a_job_on_postgres(postgres_url: str, tmp_path: Path) -> None:
    with Workspace.open(settings=Settings(home=tmp_path / "home", database_url=postgres_url)) as workspace:
        submit(workspace, job_of(tmp_path, "echo hi > ${{outputs.o}}/x; echo hi", "name: pg\noutputs:\n  o: {}\n"))
        assert b"".join(stream(workspace, "pg")) == b"hi\n"
        ended = wait(workspace, "pg", seconds=LONG)
        assert ended.status == "Completed", ended.error
        assert workspace.runs.get(str(ended.run_id)).metrics["usage/cpu_seconds"] > 0
        assert [each.status for each in records.attempts(workspace, "pg")] == ["Completed"]


def test_what_a_job_took_is_charged_to_it(workspace: Workspace, run: Submit) -> None:
    code = "b = bytearray(60_000_000); n = sum(i for i in range(3_000_000)); import time; time.sleep(1.3)"
    job = run(f'{sys.executable} -c "{code}" & wait')
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.usage["cpu_seconds"] > 0.05
    assert 60_000_000 < ended.usage["peak_memory"] < 400_000_000
    assert ended.usage["seconds"] > 1.3
    samples = attempt_folder(workspace.home, job.name, 1).samples.read_text().splitlines()
    assert json.loads(samples[0])["processes"] >= 2


def test_nothing_that_a_job_started_stays(workspace: Workspace, run: Submit) -> None:
    job = run("(setsid sleep 400 >/dev/null 2>&1 &); (sleep 401 &); nohup sleep 402 & echo $!")
    ended = wait(workspace, job.name, seconds=LONG)
    assert ended.status == "Completed"
    assert marked(mark(str(ended.run_id), 1)) == []


def test_a_job_that_submits_a_job_does_not_take_it_along(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "inner.yml").write_text("name: inner\ncommand: sleep 1; echo inner\n")
    code = (
        "from pathlib import Path; from jobs.files import read_job; from jobs.submit import submit; "
        "from workspace.home import Workspace; "
        f"submit(Workspace.open(Path('{workspace.home}')), read_job(Path('{tmp_path}/inner.yml')))"
    )
    outer = run(f'{sys.executable} -P -c "{code}"', needs=Needs(cpus=0))
    assert wait(workspace, outer.name, seconds=LONG).status == "Completed"
    assert wait(workspace, "inner", seconds=LONG).status == "Completed"


def test_a_list_shows_children_and_hides_what_is_archived(workspace: Workspace, run: Submit) -> None:
    run("true", "name: a\n", parent="p")
    run("true", "name: b\n")
    for name in ("a", "b"):
        wait(workspace, name, seconds=LONG)
    records.archive(workspace, "b")
    assert [job.name for job in records.list_jobs(workspace)] == ["a"]
    assert [job.name for job in records.list_jobs(workspace, parent="p", archived=True)] == ["a"]
    assert records.archive(workspace, "b", archived=False).archived_at is None
    assert len(records.list_jobs(workspace)) == 2


def test_looking_where_nothing_is_to_be_done_changes_nothing(workspace: Workspace, run: Submit) -> None:
    job = wait(workspace, run("true").name, seconds=LONG)
    assert reconcile.look(workspace) == 0
    assert records.get(workspace, job.name) == job
