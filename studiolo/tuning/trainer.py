"""The processes that train: begun, followed, begun again where they were killed, and understood where they failed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.language.given import Given
from jobs.linux import die_with
from workspace.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from jobs.parents import Family
    from studiolo.tuning.following import Following

LIVES = 5  # times that it may be killed without a step between
LOOK = 0.2  # seconds between two looks
GRACE = 10.0  # seconds for it to end
MODULE = "finetune.language.worker"


def run(family: Family, given: Given, following: Following) -> None:
    """Have processes train until the model is there; raises what they say where they fail."""
    plan = given.work / "plan.json"
    given.write(plan)
    killed, reached = 0, -1
    while True:
        given.error.unlink(missing_ok=True)
        before = _killed_for_memory()
        code = _one(family, given, following, plan)
        if code == 0:
            return
        if given.error.exists():
            raise _told(given)
        if code > 0:
            raise Invalid(f"the process that trains broke with code {code}", hint="its log says where")
        if _killed_for_memory() > before:
            raise Unavailable("the machine killed it for its memory", hint=cheaper(given))
        killed = killed + 1 if following.step <= reached else 1
        reached = following.step
        if killed >= LIVES:
            raise Unavailable(f"it was killed {LIVES} times at the same place, by signal {-code}", hint=cheaper(given))
        print(f"killed by signal {-code}: it goes on", flush=True)  # noqa: T201  the log of the job


def cheaper(given: Given) -> str:
    """Return the next smaller setting, with numbers."""
    from studiolo.tuning.plan import cheaper as found

    return found(given)


def _one(family: Family, given: Given, following: Following, plan: Path) -> int:
    own = os.getpid()
    process = subprocess.Popen(
        line_of(given, plan), env=_environment(given), start_new_session=True, preexec_fn=lambda: die_with(own)
    )
    try:
        while process.poll() is None:
            family.heed()
            following.look()
            time.sleep(LOOK)
    finally:
        _end(process)
    following.look()
    return process.returncode


def line_of(given: Given, plan: Path) -> list[str]:
    """Return the command line of what trains: one process, or torch's launcher with several."""
    several = given.job.distributed
    if several.processes == 1:
        return [sys.executable, "-P", "-m", MODULE, str(plan)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(several.processes), "--nnodes", "1"]
    return [sys.executable, "-P", *launcher, "--master-port", str(port), "-m", MODULE, str(plan)]


def _environment(given: Given) -> dict[str, str]:
    """Return the variables of what trains; threads that wait give their core to others."""
    threads = str(given.threads)
    return {
        "OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        os.killpg(process.pid, number)
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue


def _told(given: Given) -> Exception:
    told = json.loads(given.error.read_text(encoding="utf-8"))
    if told["what"] == "OutOfMemory":
        return Unavailable(f"out of memory: {told['message']}", hint=cheaper(given))
    kind = Unavailable if told["what"] == "Unavailable" else Invalid
    return kind(told["message"], hint=told["hint"])


def _killed_for_memory() -> int:
    """Return how many processes this machine, or this container, has killed for their memory so far."""
    count = 0
    for path, key in (("/proc/vmstat", "oom_kill"), ("/sys/fs/cgroup/memory.events", "oom_kill")):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        count += sum(int(line.split()[1]) for line in lines if line.split()[0] == key)
    return count
