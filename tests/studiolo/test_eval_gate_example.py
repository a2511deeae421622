"""This repository's own gate: the flow of examples/evals/gate, by the script that the Action and GitLab run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ruamel.yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "evals" / "gate"


def gate(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as a runner of GitHub does."""
    environment = os.environ | {
        "STUDIOLO": str(Path(sys.executable).with_name("studiolo")),
        "STUDIOLO_HOME": str(home),
        "TASK": str(folder / "task.yaml"),
        "REPORTS": str(home / "reports"),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(home / "summary.md"),
    }
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [str(ROOT / "integrations" / "gate.sh")], env=environment, capture_output=True, text=True, check=False
    )


def test_our_own_flow_passes_its_gate(tmp_path: Path) -> None:
    done = gate(EXAMPLE, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate passed" in done.stdout
    assert json.loads((tmp_path / "reports" / "report.json").read_text())["rows"] == 60


def test_a_flow_that_got_worse_is_stopped_at_the_lines_of_its_data(tmp_path: Path) -> None:
    folder = tmp_path / "gate"
    shutil.copytree(EXAMPLE, folder)
    code = folder / "flow" / "add.py"
    code.write_text(code.read_text().replace("return str(sum(", "return str(sum([1]) + sum("))
    done = gate(folder, tmp_path / "home")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "critical rows broke: sum-00, sum-01, sum-02" in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("::error file=")]
    assert len(errors) == 9
    assert errors[0].startswith(f"::error file={folder / 'sums.jsonl'},line=1,title=sum-00%3A exact passed before")
    assert "and more" in done.stdout
    summary = (tmp_path / "home" / "summary.md").read_text()
    assert summary.startswith("<!-- studiolo-eval -->")
    assert len(summary.encode()) < 65_536
    assert (tmp_path / "home" / "reports" / "junit.xml").exists()


def test_a_task_that_is_not_there_is_an_error_and_no_failed_gate(tmp_path: Path) -> None:
    assert gate(tmp_path / "nothing", tmp_path / "home").returncode == 1


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


def test_the_scripts_are_bash_and_the_action_runs_the_one_that_is_tested() -> None:
    for script in ("gate.sh", "github/comment.sh"):
        subprocess.run(["/bin/bash", "-n", str(ROOT / "integrations" / script)], check=True)
    action = ruamel.yaml.YAML(typ="safe").load(ROOT / "integrations" / "github" / "action.yml")
    steps = {step["name"]: step for step in action["runs"]["steps"]}
    assert '"$GITHUB_ACTION_PATH/../gate.sh"' in steps["Gate"]["run"]
    # What a pull request may choose reaches the shell as variables, never as text of the script.
    assert not any("${{" in step.get("run", "") for step in steps.values())
