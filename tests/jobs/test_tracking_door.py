"""MLflow as jobs find it: behind a port of their own, started when somebody knocks, shared, closed to strangers."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobs import records
from jobs.create import create
from jobs.files import read_job
from jobs.submit import stream, submit, wait
from studiolo.job_making import TRACKING
from tests.jobs.conftest import LONG, Submit, job_of
from workspace.home import Workspace
from workspace.settings import Settings

# A server as MLflow's is started: it leaves its record, knows the runs, and tells what it was asked.
SERVER = """
import argparse, http.server, json, os, sqlite3, sys, threading, time
from pathlib import Path
from workspace.processes import own_identity
parser = argparse.ArgumentParser()
for name in ("--home", "--port", "--idle"):
    parser.add_argument(name)
given = parser.parse_args()
home = Path(given.home)
def carry():
    while True:
        with sqlite3.connect(home / "studiolo.db", timeout=30) as database:
            database.execute("UPDATE runs SET carried = changed WHERE carried <> changed")
        time.sleep(0.1)
threading.Thread(target=carry, daemon=True).start()
with (home / "started").open("a") as file:
    file.write("started\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = json.dumps({"path": self.path, "method": self.command, "size": len(body),
                           "authorization": self.headers.get("Authorization")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
    do_GET = do_POST = do_PUT = answer
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(given.port)), Handler)
own = own_identity()
(home / "services").mkdir(exist_ok=True)
record = {"pid": own.pid, "started_at": own.started_at, "port": int(given.port)}
(home / "services" / "mlflow.json").write_text(json.dumps(record))
server.serve_forever()
"""
FAKE = (sys.executable, "-c", SERVER)

ASK = """
import json, os, urllib.request, urllib.error
uri, token = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_TRACKING_TOKEN"]
def ask(path, token, data=None):
    request = urllib.request.Request(uri + path, data=data, headers={"Authorization": f"Bearer {token}"})
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))
    except urllib.error.HTTPError as error:
        return {"status": error.code}
print(json.dumps([ask("/a?b=c", token), ask("/put", token, b"x" * 3_000_000), ask("/a", "st_wrong"), token]))
"""


@pytest.fixture(autouse=True)
def no_server_stays(workspace: Workspace) -> Iterator[None]:
    yield
    record = workspace.home / "services" / "mlflow.json"
    if record.exists():
        with suppress(ProcessLookupError):  # with the last job it goes by itself
            os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)


def asked(workspace: Workspace, run: Submit, tmp_path: Path) -> list[Any]:
    (tmp_path / "ask.py").write_text(ASK)
    job = run(f"{sys.executable} {tmp_path}/ask.py", tracking=FAKE)
    assert wait(workspace, job.name, seconds=LONG).status == "Completed", b"".join(stream(workspace, job.name))
    found: list[Any] = json.loads(b"".join(stream(workspace, job.name)))
    return found


def test_the_server_is_started_by_the_first_question_and_asked_in_the_workspaces_name(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    first, upload, stranger, token = asked(workspace, run, tmp_path)
    own = f"Bearer {workspace.tokens.local()}"
    assert first == {"path": "/a?b=c", "method": "GET", "size": 0, "authorization": own}
    assert (upload["method"], upload["size"]) == ("POST", 3_000_000)
    assert stranger == {"status": 401}
    assert token != workspace.tokens.local()
    asked(workspace, run, tmp_path)
    assert (workspace.home / "started").read_text() == "started\n"  # the second job found it


def test_who_asks_nothing_starts_nothing(workspace: Workspace, run: Submit) -> None:
    job = run("echo $MLFLOW_TRACKING_URI", tracking=FAKE)
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    assert b"".join(stream(workspace, job.name)).startswith(b"http://127.0.0.1:")
    assert not (workspace.home / "started").exists()


MLFLOW = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
    mlflow.log_text("words", "notes.txt")
print(run.info.run_id)
"""


@pytest.mark.slow
def test_a_script_that_logs_with_mlflow_logs_into_the_run_of_its_job(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    (tmp_path / "log.py").write_text(MLFLOW)
    job = run(f"{sys.executable} {tmp_path}/log.py", "experiment_name: trial\n", tracking=TRACKING)
    ended = wait(workspace, job.name, seconds=3 * LONG)
    assert ended.status == "Completed", b"".join(stream(workspace, job.name))
    assert str(job.run_id) in b"".join(stream(workspace, job.name)).decode()
    from workspace.tracking import carry, store_of

    carry(workspace)
    store = store_of(workspace)
    found = store.get_run(str(job.run_id))
    assert found.data.metrics["loss"] == 0.5
    assert found.data.metrics["usage/cpu_seconds"] > 0
    assert found.info.status == "FINISHED"
    assert store.get_experiment(found.info.experiment_id).name == "trial"


def test_jobs_and_steps_find_the_token_of_a_server_that_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STUDIOLO_JOB", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-the-server")
    settings = Settings(home=tmp_path / "home", mlflow_tracking_uri="http://127.0.0.1:9")
    path = tmp_path / "pipeline.yml"
    path.write_text(
        "type: pipeline\njobs:\n  one:\n    type: command\n"
        "    command: test ${MLFLOW_TRACKING_TOKEN%-server} = of-the\n"
    )
    with Workspace.open(settings=settings) as workspace:
        job = submit(workspace, job_of(tmp_path, "test $MLFLOW_TRACKING_TOKEN = of-the-server"))
        assert wait(workspace, job.name, seconds=LONG).status == "Completed"
        parent = wait(workspace, create(workspace, read_job(path)).name, seconds=LONG)
        assert (parent.status, parent.error) == ("Completed", None)
        assert "of-the-server" not in json.dumps(records.get(workspace, parent.name).spec)
