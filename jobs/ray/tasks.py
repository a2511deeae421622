"""Runs attempts as Ray tasks: one driver for all children of parents, since a Ray job each would take seconds.

`tasks.py FOLDER` is a Ray job itself, on a machine that sees the files of the workspace. Whoever wants an attempt to
run leaves a file in FOLDER; the driver takes it, and a Ray task runs `entry.py`. It goes when it was idle for long. It
is run by a Python that has Ray, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict  # noqa: UP035  Python 3.7 knows it by this name

import ray

NAP = 0.05  # seconds between two looks for new tasks
IDLE = 120.0  # seconds without a task after which the driver goes
_PDEATHSIG = 1


def main() -> None:
    """Run tasks until there are none for long."""
    folder = sys.argv[1]
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    address = ray.get_runtime_context().gcs_address
    running: Dict[Any, str] = {}  # noqa: UP006
    busy_at = time.time()
    while running or time.time() - busy_at < IDLE:
        for name in _names(folder, ".task"):
            running[_begun(folder, name, address)] = name
        for name in _names(folder, ".stop"):
            for task, called in running.items():
                if called == name:
                    ray.cancel(task, force=False)
            _forget(folder, name + ".stop")
        if not running:
            time.sleep(NAP)
            continue
        busy_at = time.time()
        ended, _ = ray.wait(list(running), timeout=NAP)
        for task in ended:
            _end(folder, running.pop(task), task)


def run(line: Any, address: str) -> int:
    """Be a task: run the attempt in a process of its own, which ends with this one."""
    own = os.getpid()
    process = subprocess.Popen(line, env=dict(os.environ, RAY_ADDRESS=address), preexec_fn=lambda: _die_with(own))
    return process.wait()


def _begun(folder: str, name: str, address: str) -> Any:
    """Take what was asked for, so that it is known to have been, and begin it."""
    taken = os.path.join(folder, name + ".taken")  # noqa: PTH118
    os.replace(os.path.join(folder, name + ".task"), taken)  # noqa: PTH105, PTH118
    with open(taken) as file:  # noqa: PTH123
        asked = json.load(file)
    needs = {"num_cpus": asked["cpus"], "num_gpus": asked["gpus"], "max_retries": 0, "name": name}
    if asked["memory"]:
        needs["memory"] = asked["memory"]
    return ray.remote(run).options(**needs).remote(asked["line"], address)


def _end(folder: str, name: str, task: Any) -> None:
    """Write down how a task ended; where its process got to the end, its own record says more."""
    try:
        told = f"its process ended with code {ray.get(task)}"
    except Exception as problem:  # noqa: BLE001  whatever became of it is told
        told = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
    if not os.path.exists(os.path.join(folder, name + ".taken")):  # noqa: PTH110, PTH118
        return  # whoever asked for it knows how it ended
    path = os.path.join(folder, name + ".ended")  # noqa: PTH118
    with open(path + ".part", "w") as file:  # noqa: PTH123
        json.dump({"message": told}, file)
    os.replace(path + ".part", path)  # noqa: PTH105
    _forget(folder, name + ".taken")


def _forget(folder: str, name: str) -> None:
    try:
        os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118
    except FileNotFoundError:
        return  # somebody else was faster


def _names(folder: str, suffix: str) -> Any:
    return sorted(name[: -len(suffix)] for name in os.listdir(folder) if name.endswith(suffix))  # noqa: PTH208


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
