"""The command line: light at the door, kind at the edges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from studiolo.cli import COMMANDS
from studiolo.cli import run as run_here

HEAVY = {
    "alembic", "chromadb", "duckdb", "fastapi", "flask", "httpx", "huggingface_hub", "jinja2", "mlflow", "numpy",
    "openai", "pandas", "psutil", "pydantic", "ray", "ruamel", "sklearn", "sqlalchemy", "starlette", "streamlit",
    "torch", "transformers", "uvicorn",
}  # fmt: skip

HELP = """
import sys
from studiolo.cli import main
sys.argv = ["studiolo", "--help"]
try:
    main()
except SystemExit:
    pass
"""


def run(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | ({"STUDIOLO_HOME": str(home)} if home else {})
    command = [sys.executable, "-m", "studiolo.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def modules_after(code: str) -> set[str]:
    """Return the modules that are imported once this code has run in a fresh interpreter."""
    report = "\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.split())


def test_importing_studiolo_imports_nothing_heavy() -> None:
    found = modules_after("import studiolo")
    assert not HEAVY & {name.split(".")[0] for name in found}
    assert len(found) < 120


def test_help_imports_no_command_and_nothing_heavy() -> None:
    found = modules_after(HELP)
    assert not HEAVY & {name.split(".")[0] for name in found}
    assert not [name for name in found if name.startswith("studiolo.commands")]
    assert len(found) < 420


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in COMMANDS)


def test_every_command_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            run_here([name, "--help"])
        said = capsys.readouterr()
        assert (ended.value.code or 0, said.err) == (0, "")
        assert f"studiolo {name}" in said.out


def test_an_unknown_command_is_a_usage_error_with_the_closest_name() -> None:
    done = run("flwo")
    assert done.returncode == 2
    assert "'flow'" in done.stderr


def test_an_error_of_ours_is_a_line_and_a_hint_without_a_traceback(tmp_path: Path) -> None:
    done = run("runs", "show", "nobody", home=tmp_path / "home")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no run 'nobody'\nhint: ")
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOLO_GATEWAY_PORT", "many")
    done = run("status", home=tmp_path / "home")
    assert done.returncode == 1
    assert "STUDIOLO_GATEWAY_PORT" in done.stderr


def test_the_home_option_names_the_workspace(tmp_path: Path) -> None:
    assert run("--home", str(tmp_path / "here"), "runs", "list").returncode == 0
    assert (tmp_path / "here" / "studiolo.db").exists()


def test_the_version_is_printed() -> None:
    assert run("--version").stdout.startswith("studiolo ")


def test_a_command_says_nothing_beside_its_answer(tmp_path: Path) -> None:
    done = run("sql", "SELECT 1 AS one", home=tmp_path / "home")
    assert (done.returncode, done.stderr) == (0, "")
