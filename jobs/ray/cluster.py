"""A Ray head on this machine, to try what a cluster does: started, found again, and ended with all that it started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.distribution.launch import free_ports
from jobs.leftovers import MARKER, end_marked
from jobs.ray.api import Head
from jobs.variables import passed
from workspace.errors import Conflict, MissingExtra, StudioloError, Unavailable
from workspace.paths import locked, write_atomically
from workspace.processes import Identity, boot, identity_of, is_alive
from workspace.settings import Settings

HERE = "127.0.0.1"
SOON = 180.0  # seconds for a head to come up
LEAVING = 3.0  # seconds for one to go by itself: it would wait half a minute for jobs
QUEUE = 10**7  # seconds that Ray lets a job wait for room; Ray itself gives up after 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A head that was started here."""

    url: str
    address: str  # where Ray's own processes meet
    token: str  # the file that has it
    folder: str  # Ray's own
    mark: str
    pid: int
    started_at: float
    boot: str

    @property
    def runs(self) -> bool:
        """Whether its head lives."""
        return self.boot == boot() and is_alive(Identity(self.pid, self.started_at))


def running(home: Path) -> Cluster | None:
    """Return the head of this workspace, if it runs."""
    found = _read(home)
    return found if found is not None and found.runs else None


def up(settings: Settings, *, cpus: int | None = None) -> Cluster:
    """Start a head and return once it takes jobs; it lives until `down`, whatever happens to whoever started it."""
    folder = settings.home / "ray"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if (own := running(settings.home)) is not None:
            raise Conflict(f"a Ray head runs already, at {own.url}", hint="studiolo cluster status")
        if (left := _read(settings.home)) is not None:
            _clear(left)
        cluster = _started(folder, cpus)
        write_atomically(folder / "cluster.json", json.dumps(asdict(cluster)))
    try:
        _await(cluster, folder / "head.log")
    except StudioloError:
        down(settings)
        raise
    return cluster


def down(settings: Settings) -> bool:
    """End the head of this workspace and all that it started; return whether there was one."""
    if _read(settings.home) is None:
        return False
    with locked(settings.home / "ray" / "lock"):
        cluster = _read(settings.home)
        if cluster is None:  # somebody else has ended it meanwhile
            return False
        was = cluster.runs
        if was:
            os.kill(cluster.pid, signal.SIGTERM)
            deadline = time.monotonic() + LEAVING
            while cluster.runs and time.monotonic() < deadline:
                time.sleep(0.05)
        _clear(cluster)
        (settings.home / "ray" / "cluster.json").unlink(missing_ok=True)
    return was


def describe(url: str, token: str) -> dict[str, Any]:
    """Return what a cluster is: Ray's version and its nodes with what they have."""
    head = Head.of(url, token)
    nodes = [
        {"address": each["node_ip"], "head": bool(each["is_head_node"]), "resources": _sizes(each["resources_total"])}
        for each in head.nodes()
    ]
    return {"url": url, "version": head.version()["ray_version"], "nodes": nodes}


def secret(path: Path) -> Path:
    """Return a file with a token of 256 bits, made where it is not there, that nobody else can read."""
    if not path.exists():
        write_atomically(path, os.urandom(32).hex(), mode=0o600)
    return path


def _started(folder: Path, cpus: int | None) -> Cluster:
    program = Path(sys.executable).parent / "ray"
    if not program.exists():
        raise MissingExtra("a Ray head needs the package ray", hint="pip install 'studiolo[ray]'")
    token, own = secret(folder / "token"), Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    port, dashboard, agent, runtime, metrics, client = free_ports(6)
    mark = f"ray-{own.name}.0"
    line = [
        str(program), "start", "--head", "--block", f"--port={port}", f"--node-ip-address={HERE}",
        f"--dashboard-host={HERE}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
        f"--runtime-env-agent-port={runtime}", f"--metrics-export-port={metrics}",
        f"--ray-client-server-port={client}", f"--temp-dir={own}", "--disable-usage-stats",
        *([f"--num-cpus={cpus}"] if cpus else []),
    ]  # fmt: skip
    environment = passed(os.environ) | {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_JOB_START_TIMEOUT_SECONDS": str(QUEUE), MARKER: mark,
    }  # fmt: skip
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(
            line, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    who = identity_of(process.pid)
    if who is None:
        raise Unavailable("the Ray head ended at once", hint=f"see {folder / 'head.log'}")
    return Cluster(
        url=f"http://{HERE}:{dashboard}", address=f"{HERE}:{port}", token=str(token), folder=str(own), mark=mark,
        pid=who.pid, started_at=who.started_at, boot=boot(),
    )  # fmt: skip


def _await(cluster: Cluster, log: Path) -> None:
    """Wait until the head takes jobs: its dashboard answers before that."""
    head, deadline = Head.of(cluster.url, cluster.token), time.monotonic() + SOON
    while time.monotonic() < deadline and cluster.runs:
        try:
            if head.nodes():
                return
        except StudioloError:
            pass  # not yet
        time.sleep(0.2)
    raise Unavailable(f"the Ray head has not come up within {SOON:g} s", hint=f"see {log}")


def _clear(cluster: Cluster) -> None:
    end_marked(cluster.mark)
    shutil.rmtree(cluster.folder, ignore_errors=True)


def _read(home: Path) -> Cluster | None:
    try:
        return Cluster(**json.loads((home / "ray" / "cluster.json").read_text()))
    except FileNotFoundError:
        return None


def _sizes(total: dict[str, float]) -> dict[str, float]:
    return {name: total[name] for name in ("CPU", "GPU", "memory") if name in total}
