"""`studiolo job` as somebody who knows `az ml job` types it: answers, formats, queries, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jobs.submit import wait
from tests.studiolo.command_line import Said, Say, typed
from workspace.home import Workspace
from workspace.settings import Settings

ROOT = Path(__file__).parents[2]
JOB = """\
command: >-
  echo ${{inputs.word}} && mkdir outputs && echo kept > outputs/it && echo ${{inputs.rate}} > ${{outputs.rates}}/rate
inputs: {word: hello, rate: 0.1}
outputs: {rates: {type: uri_folder}}
tags: {team: blue}
"""


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Run the command line in a folder with `job.yml`."""
    (tmp_path / "job.yml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "home"))
    return typed


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def value(done: Said) -> Any:
    return json.loads(done.stdout)


def test_a_job_is_submitted_and_its_name_is_what_is_printed(say: Say) -> None:
    done = say("job", "create", "-f", "job.yml", "-n", "first")
    assert done.stdout == "first\n"
    assert "next: studiolo job stream first" in done.stderr
    assert say("job", "stream", "first").stdout == "hello\n"
    assert say("job", "show", "-n", "first", "--query", "status", "-o", "tsv").stdout == "Completed\n"


def test_its_json_has_what_az_prints(say: Say) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first", "--stream")
    shown = value(say("job", "show", "first", "-o", "json"))
    assert {key: shown[key] for key in ("name", "type", "status", "display_name", "tags")} == {
        "name": "first", "type": "command", "status": "Completed", "display_name": "first", "tags": {"team": "blue"}
    }  # fmt: skip
    assert shown["inputs"] == {"word": "hello", "rate": 0.1}
    assert shown["outputs"]["rates"]["path"] == "azureml://jobs/first/outputs/rates"
    assert shown["outputs"]["default"]["type"] == "uri_folder"
    assert shown["services"]["Studio"]["endpoint"].startswith("http://127.0.0.1:")
    assert shown["creation_context"]["created_at"].endswith("+00:00")
    assert shown["id"].endswith("/jobs/first")
    assert say("job", "show", "first", "--json").stdout == say("job", "show", "first", "-o", "json").stdout


def test_every_format_is_printed(say: Say) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first", "--stream")
    assert "name       first" in say("job", "show", "first").stdout
    assert YAML(typ="safe").load(say("job", "show", "first", "-o", "yaml").stdout)["name"] == "first"
    assert value(say("job", "show", "first", "-o", "jsonc"))["name"] == "first"
    assert say("job", "show", "first", "-o", "none").stdout == ""
    assert say("job", "list", "-o", "tsv").stdout.split("\t")[:3] == ["first", "command", "Completed"]
    assert say("job", "list", "-o", "table").stdout.splitlines()[0].split()[:3] == ["name", "type", "status"]


def test_a_query_takes_a_part_as_az_prints_it(say: Say) -> None:
    for name in ("first", "second"):
        say("job", "create", "-f", "job.yml", "-n", name, "--stream")
    assert say("job", "list", "--query", "[].name", "-o", "tsv").stdout == "second\nfirst\n"
    assert value(say("job", "list", "--query", "[?name=='first'].status")) == ["Completed"]
    pairs = say("job", "list", "--query", "[].{n: name, s: status}", "-o", "tsv").stdout
    assert pairs.splitlines() == ["second\tCompleted", "first\tCompleted"]
    table = say("job", "list", "--query", "[].{name: name, status: status}", "-o", "table").stdout.splitlines()
    assert table[0].split() == ["Name", "Status"]
    assert say("job", "show", "first", "--query", "no.such", "-o", "tsv").stdout == ""
    refused = say("job", "list", "--query", "[", code=1)
    assert "--query '[' cannot be read" in refused.stderr


def test_values_are_set_over_the_file(say: Say) -> None:
    line = ["--set", "inputs.word=there", "display_name=set here", "tags.more=1"]
    name = say("job", "create", "-f", "job.yml", *line, "--query", "name", "-o", "tsv").stdout.strip()
    assert say("job", "stream", "-n", name).stdout == "there\n"
    assert value(say("job", "show", name, "--query", "[display_name, tags.more, tags.team]", "-o", "json")) == [
        "set here", "1", "blue"
    ]  # fmt: skip


def test_a_failed_job_is_a_failed_command_where_it_is_followed(say: Say) -> None:
    done = say("job", "create", "-f", "job.yml", "-n", "bad", "--set", "command=echo said; exit 3", "--stream", code=1)
    assert done.stdout == "said\n"
    assert "job 'bad' failed with exit code 3" in done.stderr
    say("job", "stream", "bad", code=1)
    json_too = say("job", "create", "-f", "job.yml", "--set", "command=exit 4", "-s", "--query", "status", code=1)
    assert value(json_too) == "Failed"
    say("job", "create", "-f", "job.yml", "--set", "command=exit 3")  # nobody waits for it: it was submitted


def test_a_job_is_cancelled_and_its_status_told(say: Say, tmp_path: Path) -> None:
    say("job", "create", "-f", "job.yml", "-n", "long", "--set", "command=sleep 60")
    assert say("job", "cancel", "-n", "long").stdout.strip() in ("CancelRequested", "Canceled")
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as workspace:
        assert wait(workspace, "long", seconds=30).status == "Canceled"


def test_what_a_job_left_is_downloaded_as_az_lays_it_out(say: Say, tmp_path: Path) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first", "--stream")
    say("job", "download", "-n", "first", "-p", "some")
    assert (tmp_path / "some/artifacts/outputs/it").read_text() == "kept\n"
    assert (tmp_path / "some/artifacts/user_logs/std_log.txt").read_text() == "hello\n"
    say("job", "download", "-n", "first", "--output-name", "rates", "--download-path", "one")
    assert (tmp_path / "one/named-outputs/rates/rate").read_text() == "0.1\n"
    assert not (tmp_path / "one/artifacts").exists()
    say("job", "download", "-n", "first", "--all", "-p", "all")
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"artifacts", "named-outputs"}
    refused = say("job", "download", "first", "--output-name", "rate", code=1)
    assert "did you mean 'rates'?" in refused.stderr


def test_files_of_a_job_that_runs_are_not_there_yet(say: Say) -> None:
    say("job", "create", "-f", "job.yml", "-n", "long", "--set", "command=sleep 60")
    refused = say("job", "download", "long", code=1)
    assert "its files are there when it has ended" in refused.stderr
    say("job", "cancel", "long")


def test_what_is_said_of_a_job_is_changed(say: Say) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first")
    line = ("--set", "display_name=better", "tags.team=red", "--add", "tags", "more=2", "properties.x=y")
    shown = value(say("job", "update", "-n", "first", *line, "-o", "json"))
    assert (shown["display_name"], shown["tags"]) == ("better", {"team": "red", "more": "2"})
    assert shown["properties"]["x"] == "y"
    shown = value(say("job", "update", "first", "--remove", "tags.more", "--json"))
    assert shown["tags"] == {"team": "red"}
    assert "cannot be changed" in say("job", "update", "first", "--set", "status=Failed", code=1).stderr


def test_archived_jobs_are_in_no_list_until_they_are_asked_for(say: Say) -> None:
    for name in ("first", "second"):
        say("job", "create", "-f", "job.yml", "-n", name)
    say("job", "archive", "-n", "first")
    names = ("--query", "[].name", "-o", "tsv")
    assert say("job", "list", *names).stdout == "second\n"
    assert say("job", "list", "--archived-only", *names).stdout == "first\n"
    assert say("job", "list", "--include-archived", *names).stdout == "second\nfirst\n"
    say("job", "restore", "first")
    assert say("job", "list", "-r", "1", *names).stdout == "second\n"
    assert say("job", "list", "--all-results", *names).stdout == "second\nfirst\n"


def test_a_file_is_checked_without_a_job(say: Say) -> None:
    assert value(say("job", "validate", "-f", "job.yml", "-o", "json"))["result"] == "Succeeded"
    done = say("job", "validate", "-f", "job.yml", "--set", "comand=x", "-o", "json", code=1)
    assert value(done)["errors"][0]["location"].startswith("job.yml:1")
    assert "did you mean 'command'?" in done.stderr
    assert say("job", "list", "--query", "length(@)").stdout == "0\n"


def test_what_was_made_is_saved_to_a_file(say: Say, tmp_path: Path) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first", "--save-as", "made.yml", "--web")
    assert YAML(typ="safe").load((tmp_path / "made.yml").read_text())["name"] == "first"


def test_a_job_is_run_again_with_what_differs(say: Say) -> None:
    say("job", "create", "-f", "job.yml", "-n", "first", "--stream")
    done = say("job", "replay", "first", "--stream")
    assert done.stdout == "hello\n"
    assert "its outputs are the same to the byte" in done.stderr


def test_a_name_is_needed_once(say: Say) -> None:
    assert "the name is missing" in say("job", "show", code=1).stderr
    assert "two names are given" in say("job", "show", "a", "-n", "b", code=1).stderr
    assert "no job 'nobody'" in say("job", "show", "nobody", code=1).stderr


CREATE = """
import sys
from studiolo.cli import main
sys.argv = ["studiolo", "job", "create", "-f", "job.yml"]
try:
    main()
except SystemExit:
    pass
print("\\n".join(sys.modules), file=sys.stderr)
"""


def test_submitting_imports_nothing_heavy(say: Say, tmp_path: Path) -> None:
    say("job", "list")  # the workspace is there
    environment = os.environ | {"STUDIOLO_HOME": str(tmp_path / "home"), "PYTHONPATH": _path()}
    done = subprocess.run(
        [sys.executable, "-c", CREATE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    heavy = {"sqlalchemy", "alembic", "mlflow", "pandas", "numpy", "httpx", "fastapi", "jmespath", "rich", "psutil"}
    assert not heavy & {name.split(".")[0] for name in done.stderr.split()}


def test_whoever_interrupts_a_stream_leaves_the_job_alone(say: Say, tmp_path: Path) -> None:
    say("job", "create", "-f", "job.yml", "-n", "long", "--set", "command=echo begun; sleep 3; echo ended")
    environment = os.environ | {"STUDIOLO_HOME": str(tmp_path / "home"), "PYTHONPATH": _path()}
    line = [sys.executable, "-m", "studiolo", "job", "stream", "long"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.1)
        process.send_signal(2)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the job goes on" in said
    assert say("job", "stream", "long").stdout == "begun\nended\n"
