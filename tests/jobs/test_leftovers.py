"""What a job leaves is found by its mark and by its descent, and nobody else is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.leftovers import MARKER, descendants, end_descendants, end_marked, mark, marked
from tests.jobs.conftest import until


@contextmanager
def sleeping(value: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "300"], env={MARKER: value}, start_new_session=True)
    try:
        until(lambda: value in _marks(process.pid))
        yield process
    finally:
        process.kill()
        process.wait()


def _marks(pid: int) -> str:
    with open(f"/proc/{pid}/environ") as file:  # noqa: PTH123
        return file.read()


def test_a_mark_is_one_attempts_and_a_longer_one_is_another() -> None:
    with sleeping(mark("abc", 1)) as first, sleeping(mark("abc", 11)) as other:
        assert marked(mark("abc", 1)) == [first.pid]
        assert end_marked(mark("abc", 1)) == 1
        assert first.wait(5) == -9
        assert other.poll() is None
        assert end_marked(mark("abc", 1)) == 0


_PARENT = """
import subprocess, sys, time
from jobs.linux import adopt_orphans, call_itself
adopt_orphans()
subprocess.Popen(["/bin/bash", "-c", "(setsid env -i /bin/sleep 300 &) ; sleep 301; true"])
shim = "import time; from jobs.linux import call_itself; call_itself('studiolo-shim'); print(1, flush=True); "
subprocess.Popen([sys.executable, "-c", shim + "time.sleep(300)"])
time.sleep(300)
"""


def test_descendants_are_found_without_a_mark_and_other_shims_are_left_alone() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert parent.stdout
    try:
        parent.stdout.readline()
        until(lambda: len(descendants(parent.pid)) == 3)  # bash, and both sleeps
        assert end_descendants(parent.pid) == 3
        until(lambda: descendants(parent.pid) == [])
        names = [open(f"/proc/{pid}/comm").read().strip() for pid in _children(parent.pid)]  # noqa: PTH123, SIM115
        assert "studiolo-shim" in names
    finally:
        for pid in _children(parent.pid):
            os.kill(pid, 9)
        parent.kill()
        parent.wait()
        parent.stdout.close()


def _children(parent: int) -> list[int]:
    done = subprocess.run(["/bin/ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]
