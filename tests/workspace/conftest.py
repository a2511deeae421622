"""A real PostgreSQL server, and workspaces that are tested on it as well as on SQLite."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

from workspace.home import Workspace
from workspace.settings import Settings

PASSWORD = "correct-horse"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """Start a server of our own on a free port, without a Unix socket, for this session."""
    programs = _programs()
    account = None if os.geteuid() else _account()
    folder = Path(tempfile.mkdtemp(prefix="studiolo-postgres-"))
    if account is not None:
        os.chown(folder, account, -1)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    cluster = folder / "cluster"
    subprocess.run(
        [programs / "initdb", "-D", cluster, "-U", "studiolo", "--auth=scram-sha-256", "--no-sync",
         f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C"],
        check=True, user=account, cwd=folder, capture_output=True,
    )  # fmt: skip
    try:
        server, url = _begun(programs / "postgres", cluster, account)
        try:
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # nobody needs its data again
            server.wait(20)
    finally:
        shutil.rmtree(folder)


def _begun(program: Path, cluster: Path, account: int | None) -> tuple[subprocess.Popen[bytes], URL]:
    """Start the server; on another port where somebody was faster to take the first one."""
    for attempt in range(3):
        port = _free_port()
        server = subprocess.Popen(
            [program, "-D", cluster, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"],
            user=account, cwd=cluster.parent, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent,
        )  # fmt: skip
        url = URL.create("postgresql+psycopg", "studiolo", PASSWORD, "127.0.0.1", port, "postgres")
        try:
            _wait_for(url, server)
        except OperationalError:
            server.kill()
            server.wait()
            if attempt == 2:
                raise
        else:
            return server, url
    raise AssertionError("the last attempt has returned or raised")


@pytest.fixture
def postgres_url(postgres_server: URL) -> str:
    """A new, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres_server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace, once with its records in SQLite and once in PostgreSQL: the contract is one."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    with Workspace.open(settings=Settings(home=tmp_path / "home", database_url=url)) as opened:
        yield opened


def _programs() -> Path:
    found = [Path(program).resolve().parent for program in [shutil.which("initdb")] if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("no PostgreSQL here: apt-get install postgresql")


def _account() -> int:
    # PostgreSQL refuses to run as root.
    import pwd

    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody'")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _wait_for(url: URL, server: subprocess.Popen[bytes]) -> None:
    engine = create_engine(url)
    deadline = time.monotonic() + 30
    while True:
        try:
            engine.connect().close()
        except OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            engine.dispose()
            return
