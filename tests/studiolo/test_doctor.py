"""The doctor finds what is wrong, one line and a hint each, also where the workspace cannot be opened."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from studiolo.doctor import Check, examine
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    one, two, three, four = (each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    home = tmp_path / "home"
    return Settings(home=home, gateway_port=one, control_port=two, studio_port=three, mlflow_port=four)


def checked(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in examine(settings)}


def test_looking_makes_no_workspace(settings: Settings) -> None:
    found = checked(settings)
    assert not settings.home.exists()
    assert [name for name, check in found.items() if check.status == "fail"] == []


def test_a_workspace_that_is_open_to_others_fails_with_the_command_that_closes_it(settings: Settings) -> None:
    settings.home.mkdir(mode=0o755)
    check = checked(settings)["workspace"]
    assert (check.status, check.hint) == ("fail", f"chmod 700 {settings.home}")


def test_a_workspace_that_is_a_file_fails(settings: Settings) -> None:
    settings.home.write_text("")
    assert checked(settings)["workspace"].status == "fail"


def test_a_damaged_database_fails(settings: Settings) -> None:
    with Workspace.open(settings=settings):
        pass
    (settings.home / "studiolo.db").write_bytes(b"this is no database " * 1000)
    check = checked(settings)["database"]
    assert check.status == "fail"
    assert "studiolo.db" in check.message


def test_a_database_that_does_not_answer_fails_with_its_reason(settings: Settings) -> None:
    url = f"postgresql+psycopg://nobody@127.0.0.1:{settings.mlflow_port}/none"
    check = checked(replace(settings, database_url=url))["database"]
    assert check.status == "fail"
    assert "PostgreSQL" in check.message


def test_a_taken_port_fails_with_its_holder_and_the_variable(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.gateway_port)):
        check = checked(settings)[f"port {settings.gateway_port}"]
    assert check.status == "fail"
    assert "pid" in check.message
    assert "STUDIOLO_GATEWAY_PORT" in check.hint


def test_models_that_are_not_prepared_are_told_with_the_command(settings: Settings) -> None:
    with Workspace.open(settings=settings):
        pass
    check = checked(settings)["models"]
    assert check.status == "warn"
    assert check.hint


def test_on_a_full_disk_the_database_is_not_called_damaged(settings: Settings) -> None:
    settings.home.mkdir()
    unshare = shutil.which("unshare") or pytest.skip("no unshare here")
    said = subprocess.run(
        [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", _FULL_DISK],
        env=os.environ | settings.environment() | {"PYTHON": sys.executable}, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in said.stderr:
        pytest.skip(f"no file systems of our own here: {said.stderr}")
    error, hint, *_ = said.stderr.splitlines()
    assert error.endswith("studiolo.db: the disk is full")
    assert "nothing that was written is lost" in hint
    checks = {check["name"]: check for check in json.loads(said.stdout)}
    assert checks["database"]["hint"].startswith("free some space")


_FULL_DISK = """
mount -t tmpfs -o size=1200k none "$STUDIOLO_HOME" && chmod 700 "$STUDIOLO_HOME" || exit
"$PYTHON" -m studiolo runs list >/dev/null
head -c 2M /dev/zero >"$STUDIOLO_HOME/fill" 2>/dev/null
"$PYTHON" -m studiolo runs list
"$PYTHON" -m studiolo doctor --json
"""


def test_a_workspace_on_a_network_file_system_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"30 22 0:40 / {tmp_path} rw - nfs4 server:/home rw,vers=4.2\n")
    monkeypatch.setattr("workspace.filesystems.MOUNTS", mounts)
    with pytest.raises(Invalid, match="network file system") as refused:
        Workspace.open(settings=settings)
    assert "STUDIOLO_DATABASE_URL" in str(refused.value.hint)
    assert checked(settings)["file system"].status == "fail"
