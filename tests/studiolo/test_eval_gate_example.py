"""This repository's own gate: the flow of examples/evals/gate, by the script that the Action and GitLab run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import ruamel.yaml

ROOT = Path(__file__).parents[2]
MARKER = "<!-- studiolo-eval -->"
EXAMPLE = ROOT / "examples" / "evals" / "gate"


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-actions", "github/action.yml"), ("vendor.gitlab-ci", "gitlab/eval-gate.yml")],
)
def test_what_other_pipelines_include_is_as_their_schemas_want_it(schema: str, file: str) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / "integrations" / file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_what_a_pull_request_may_choose_reaches_the_shell_as_variables_only() -> None:
    assert not any("${{" in step.get("run", "") for step in steps_of_action().values())


def steps_of_action() -> dict[str, Any]:
    action = ruamel.yaml.YAML(typ="safe").load(ROOT / "integrations" / "github" / "action.yml")
    return {step["name"]: step for step in action["runs"]["steps"]}


class Comments(BaseHTTPRequestHandler):
    """GitHub's comments of one pull request: `kept` by number; more than a page of others come first."""

    kept: ClassVar[dict[int, str]] = {}
    asked: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        page, size = (int(parse_qs(parts.query)[name][0]) for name in ("page", "per_page"))
        found = [{"id": number, "body": body} for number, body in sorted(self.kept.items())]
        self.answer(found[(page - 1) * size : page * size])

    def do_POST(self) -> None:
        self.write(1_000 + len(self.kept))

    def do_PATCH(self) -> None:
        self.write(int(self.path.rpartition("/")[2]))

    def write(self, number: int) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        if self.status == 200:
            self.kept[number] = body
        self.answer({"id": number})

    def answer(self, told: object) -> None:
        self.asked.append(f"{self.command} {urlsplit(self.path).path} {self.headers['Authorization']}")
        raw = json.dumps(told).encode()
        self.send_response(self.status if self.command != "GET" else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def github() -> Iterator[str]:
    """The address of GitHub's API, with a pull request that many have commented on."""
    Comments.kept = dict.fromkeys(range(150), "Looks good")
    Comments.asked, Comments.status = [], 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Comments) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def step(name: str, inputs: Mapping[str, str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step of the action as a runner does: its variables out of the inputs, its script by bash."""
    told = {f"inputs.{key}": value for key, value in inputs.items()} | {"github.event.pull_request.number": "7"}
    found = steps_of_action()[name]
    variables = {key: told[value.strip("${} ")] for key, value in found["env"].items()}
    command = ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
    return subprocess.run(
        command, env=os.environ | dict(environment) | variables, capture_output=True, text=True, check=False
    )


def runner(folder: Path) -> dict[str, str]:
    """Return the variables that a runner of GitHub has set."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "STUDIOLO_HOME": str(folder / "home"),
        "GITHUB_ACTIONS": "true", "GITHUB_ACTION_PATH": str(ROOT / "integrations" / "github"),
        "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_REPOSITORY": "lab/flows",
    }  # fmt: skip


def test_our_own_flow_passes_its_gate_by_the_steps_of_the_action_which_leave_one_comment(
    tmp_path: Path, github: str
) -> None:
    reports = str(tmp_path / "reports")
    inputs = {"task": str(EXAMPLE / "task.yaml"), "target": "", "baseline": "", "reports": reports, "token": "t"}
    environment = runner(tmp_path) | {"GITHUB_API_URL": github}
    done = step("Gate", inputs, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate passed" in done.stdout
    assert json.loads((tmp_path / "reports" / "report.json").read_text())["rows"] == 60
    assert (tmp_path / "output").read_text() == "passed=true\n"
    assert (tmp_path / "summary.md").read_text().startswith(MARKER)
    for _ in range(2):  # the second time it is replaced
        done = step("Comment", inputs, environment)
        assert done.returncode == 0, done.stderr
    ours = [body for body in Comments.kept.values() if body.startswith(MARKER)]
    assert ours == [(tmp_path / "reports" / "report.md").read_text()]
    assert [each for each in Comments.asked if not each.startswith("GET")] == [
        "POST /repos/lab/flows/issues/7/comments Bearer t", "PATCH /repos/lab/flows/issues/comments/1150 Bearer t",
    ]  # fmt: skip
    Comments.status = 403
    done = step("Comment", inputs, environment)
    assert (done.returncode, "::notice title=No comment" in done.stdout) == (0, True)


def test_a_flow_that_got_worse_is_stopped_at_the_lines_of_its_data_by_the_action_and_in_gitlab(tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    shutil.copytree(EXAMPLE, folder)
    code = folder / "flow" / "add.py"
    code.write_text(code.read_text().replace("return str(sum(", "return str(sum([1]) + sum("))
    inputs = {"task": str(folder / "task.yaml"), "target": "", "baseline": "", "reports": str(tmp_path / "r")}
    done = step("Gate", inputs, runner(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    assert (tmp_path / "output").read_text() == "passed=false\n"
    assert "critical rows broke: sum-00, sum-01, sum-02" in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("::error file=")]
    assert len(errors) == 9
    assert errors[0].startswith(f"::error file={folder / 'sums.jsonl'},line=1,title=sum-00%3A exact passed before")
    assert "and more" in done.stdout
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith(MARKER)
    assert len(summary.encode()) < 65_536
    assert (tmp_path / "r" / "junit.xml").exists()
    job = ruamel.yaml.YAML(typ="safe").load(ROOT / "integrations" / "gitlab" / "eval-gate.yml")[".studiolo-eval-gate"]
    variables = job["variables"] | {"TASK": str(folder / "task.yaml"), "REPORTS": str(tmp_path / "gitlab")}
    done = subprocess.run(
        ["/bin/bash", "-eo", "pipefail", "-c", "\n".join(job["script"])], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | runner(tmp_path) | variables, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert (tmp_path / "gitlab" / "junit.xml").is_file()


def test_a_task_that_is_not_there_is_an_error_and_no_failed_gate(tmp_path: Path) -> None:
    inputs = {"task": str(tmp_path / "none.yaml"), "target": "", "baseline": "", "reports": str(tmp_path / "r")}
    assert step("Gate", inputs, runner(tmp_path)).returncode == 1
