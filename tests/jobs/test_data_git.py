"""Code from git."""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from jobs.data import places
from jobs.data.git import clone
from jobs.files.references import Url
from tests.jobs.conftest import Submit
from tests.jobs.file_server import Server
from tests.jobs.file_server import cache as cache
from tests.jobs.file_server import inside as inside
from tests.jobs.file_server import said as said
from tests.jobs.file_server import server as server
from workspace.egress import Address
from workspace.errors import Denied, Invalid, NotFound, Unavailable
from workspace.home import Workspace


def repository(folder: Path) -> str:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "go.py").write_text("print('from git')\n")
    for line in (
        ["init", "-q", "-b", "main"], ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "one"], ["tag", "v1"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(folder), *line], check=True)  # noqa: S607
    return f"git+file://{folder}"


def test_code_comes_from_git(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    url = repository(tmp_path / "repository")
    assert said(workspace, run, "python go.py", f"code: {url}@v1#subdirectory=src\n") == "from git\n"
    assert said(workspace, run, "python src/go.py", f"code: {url}\n") == "from git\n"
    with pytest.raises(Unavailable, match="cannot be fetched"):
        run("true", f"code: {url}@none\n")
    with pytest.raises(NotFound, match="no folder 'gone'"):
        run("true", f"code: {url}#subdirectory=gone\n")


def test_a_hook_of_git_that_runs_us_keeps_its_own_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, own = repository(tmp_path / "theirs"), tmp_path / "own"
    repository(own)
    (own / "src" / "go.py").write_text("print('mine, not committed')\n")
    monkeypatch.setenv("GIT_DIR", str(own / ".git"))  # as git tells its hooks
    monkeypatch.setenv("GIT_WORK_TREE", str(own))
    before = (own / ".git" / "HEAD").read_text()
    clone(url, tmp_path / "code")
    assert (tmp_path / "code" / "src" / "go.py").read_text() == "print('from git')\n"
    assert (own / "src" / "go.py").read_text() == "print('mine, not committed')\n"
    assert (own / ".git" / "HEAD").read_text() == before


def served(server: Server, folder: Path) -> str:
    """Have a server give a repository out as git's dumb protocol asks for it; return its path there."""
    repository(folder)
    subprocess.run(["git", "-C", str(folder), "update-server-info"], check=True)  # noqa: S607
    for path in (folder / ".git").rglob("*"):
        if path.is_file():
            server.files[f"/code.git/{path.relative_to(folder / '.git').as_posix()}"] = path.read_bytes()
    return f":{server.port}/code.git@v1"


def test_git_goes_where_the_name_was_looked_up_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but us knows the host: git would not find it, nor would the proxy that the environment names."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    asked: list[str] = []

    def looks_up(host: str, _: int) -> list[Address]:
        asked.append(host)
        return [ip_address("127.0.0.1")]

    url = f"git+http://code.test{served(server, tmp_path / 'repository')}"
    clone(url, tmp_path / "code", allows=lambda address: address.is_loopback, looks_up=looks_up)
    assert (tmp_path / "code" / "src" / "go.py").exists()
    assert asked == ["code.test"]


def test_a_repository_that_is_closed_to_us_says_so(server: Server, tmp_path: Path) -> None:
    url = f"git+http://127.0.0.1{served(server, tmp_path / 'repository')}"
    for status in (401, 403):
        server.status = status
        with pytest.raises(Denied, match="not open to us"):
            clone(url, tmp_path / "code", allows=lambda address: address.is_loopback)


def test_git_asks_nobody_inside_and_shows_no_credentials(
    workspace: Workspace, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Url(url=f"git+http://ann:canary-77@127.0.0.1{served(server, tmp_path / 'repository')}")
    with pytest.raises(Invalid, match="inside this machine"):
        places.find(workspace, where)
    assert server.asked == []
    lines = tmp_path / "lines"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\necho "$@" >> {lines}\nexec {shutil.which("git")} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    workspace.settings = replace(workspace.settings, data_hosts="127.0.0.1")
    assert (places.find(workspace, where) / "src" / "go.py").exists()
    assert "canary" not in lines.read_text()
    assert server.authorized == {f"Basic {b64encode(b'ann:canary-77').decode()}"}
