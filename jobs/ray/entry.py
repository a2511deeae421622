"""Runs one command of a job on the machine that Ray has chosen, once, and leaves behind how it ended.

Ray runs this file with its own Python: it imports nothing but the standard library. `entry.py PLAN` reads what to run;
what the command says goes byte for byte to a file, its end is written by atomic rename. Where the files of the job were
uploaded, both lie under Ray's logs, where they can be fetched from, and the outputs with them.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from typing import Any, Dict, List  # noqa: UP035  Python 3.7 knows them by these names

NAP = 0.05  # seconds between two looks
PATIENCE = 5.0  # seconds for processes to be gone that were killed
KEPT = ("RAY_", "CUDA_VISIBLE_DEVICES")  # what Ray tells its jobs, which may be Ray programs themselves
TWICE = 75  # the exit code where somebody has run this before
_SUBREAPER, _PDEATHSIG = 36, 1


def main() -> int:
    """Run what the plan says; return the exit code."""
    with open(sys.argv[1]) as file:  # noqa: PTH123
        plan = json.load(file)
    if not plan["shared"]:
        plan = _unpacked(plan, os.path.dirname(os.path.abspath(sys.argv[1])))  # noqa: PTH100, PTH120
    try:
        os.close(os.open(plan["claim"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        sys.stderr.write("this attempt was begun before; it is not run twice\n")
        return TWICE
    if any(os.path.exists(each) for each in plan["cancel"]):  # noqa: PTH110  who asked for it has not waited
        return 0
    return run(plan)


def run(plan: Any) -> int:
    """Run the command to its end and write that down."""
    began = time.time()
    _called(_SUBREAPER, 1)
    stopping = Stopping(plan)
    signal.signal(signal.SIGTERM, stopping.told)
    own = os.getpid()
    try:
        with open(plan["log"], "ab", 0) as log:  # noqa: PTH123
            process = subprocess.Popen(
                plan["line"], cwd=plan["folder"], env=_environment(plan), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, preexec_fn=lambda: _die_with(own),
            )  # fmt: skip
    except OSError as problem:
        _end(plan, {"code": None, "error": f"the command cannot be started: {problem}", "usage": {}})
        return 127
    while process.poll() is None:
        stopping.look(process.pid)
        time.sleep(NAP)
    _end_marked(plan["marker"])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage = {"seconds": time.time() - began, "cpu_seconds": used.ru_utime + used.ru_stime}
    usage["peak_memory"] = used.ru_maxrss * 1024
    if plan.get("archive"):
        _pack(plan)
    _end(plan, {"code": process.returncode, "error": None, "usage": usage})
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class Stopping:
    """Whether the command is to end, and how far that is."""

    def __init__(self, plan: Any) -> None:
        self._files = plan["cancel"]
        self._grace = float(plan["grace"])
        self._kill_at = 0.0

    def told(self, _number: int, _frame: Any) -> None:
        """Note that Ray ends us; it has told the command as well."""
        self._kill_at = self._kill_at or time.time() + self._grace

    def look(self, pid: int) -> None:
        """End the command where somebody asks for it, for good where it does not listen."""
        if not self._kill_at and any(os.path.exists(each) for each in self._files):  # noqa: PTH110
            self._kill_at = time.time() + self._grace
            os.killpg(pid, signal.SIGTERM)
            os.killpg(pid, signal.SIGCONT)
        if self._kill_at and time.time() > self._kill_at:
            os.killpg(pid, signal.SIGKILL)


def _unpacked(plan: Any, root: str) -> Any:
    """Return a plan whose files came with it: they are where Ray has laid them, what it leaves is under Ray's logs."""
    found = json.loads(json.dumps(plan).replace(plan["root"], root))
    logs = os.path.dirname(os.readlink("/proc/self/fd/1"))  # noqa: PTH115, PTH120  where Ray keeps what we say
    for name in ("log", "exit", "claim", "archive"):
        found[name] = os.path.join(logs, f"{plan['called']}.{name}")  # noqa: PTH118
    launcher = os.path.join(root, "launch.json")  # noqa: PTH118
    if os.path.exists(launcher):  # noqa: PTH110
        with open(launcher) as file:  # noqa: PTH123
            told = file.read().replace(plan["root"], root)
        with open(launcher, "w") as file:  # noqa: PTH123
            file.write(told)
    for place in found["folders"]:
        os.makedirs(place, exist_ok=True)  # noqa: PTH103
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))  # noqa: PTH120
    found["environment"].update(PATH=path, HOME=os.environ.get("HOME", "/"))
    return found


def _environment(plan: Any) -> Dict[str, str]:  # noqa: UP006
    found = dict(plan["environment"])
    found.update((name, value) for name, value in os.environ.items() if name.startswith(KEPT))
    return found


def _pack(plan: Any) -> None:
    """Put what is to come back into one file."""
    partial = plan["archive"] + ".part"
    with tarfile.open(partial, "w") as archive:
        for name, place in plan["back"].items():
            if os.path.exists(place):  # noqa: PTH110
                archive.add(place, name)
    os.replace(partial, plan["archive"])  # noqa: PTH105


def _end(plan: Any, record: Any) -> None:
    partial = plan["exit"] + ".part"
    with open(partial, "w") as file:  # noqa: PTH123
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, plan["exit"])  # noqa: PTH105


def _end_marked(marker: str) -> None:
    """Kill what carries the mark of this attempt, in whatever session, but for ourselves and who has started us."""
    deadline = time.time() + PATIENCE
    while time.time() < deadline:
        found = [pid for pid in _others() if marker.encode() in _environment_of(pid)]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(NAP)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


def _others() -> List[int]:  # noqa: UP006
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]  # noqa: PTH208


def _environment_of(pid: int) -> List[bytes]:  # noqa: UP006
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return file.read().split(b"\0")
    except OSError:
        return []


def _die_with(parent: int) -> None:
    _called(_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def _called(what: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
