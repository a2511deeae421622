"""Whatever people and accidents do, in whatever order: every job ends once, runs once an attempt, leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from jobs import records
from jobs.folders import attempt_folder
from jobs.leftovers import mark, marked
from jobs.linux import die_with
from jobs.states import TERMINAL
from jobs.submit import Wishes, cancel, submit, wait
from tests.jobs.conftest import LONG, job_of
from workspace.home import Workspace
from workspace.processes import Identity, identity_of, is_alive
from workspace.settings import Settings


class Jobs(RuleBasedStateMachine):
    """Submit, cancel, kill shims, commands and supervisors, tell jobs to go on."""

    names = Bundle("names")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="studiolo-machine-"))
        self.workspace = Workspace.open(settings=Settings(home=self.folder / "home", job_cpus=3))
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.codes: dict[str, int] = {}
        self.ends: dict[str, str] = {}

    @rule(target=names, code=st.sampled_from([0, 0, 3]), retries=st.integers(0, 2), tenths=st.integers(0, 3))
    def submit(self, code: int, retries: int, tenths: int) -> str:
        name = f"job{len(self.codes)}"
        command = (
            f"echo $STUDIOLO_JOB $STUDIOLO_ATTEMPT >> {self.folder}/ran; (setsid sleep 300 &); "
            f"sleep 0.{tenths}; test {tenths} -lt 3 || while test ! -e {self.folder}/{name}; do sleep 0.05; done; "
            f"exit {code}"
        )
        submit(self.workspace, job_of(self.folder, command, f"name: {name}\n"), Wishes(retries=retries))
        self.codes[name] = code
        return name

    @rule(name=names)
    def cancel(self, name: str) -> None:
        cancel(self.workspace, name)

    @rule(name=names)
    def let_go_on(self, name: str) -> None:
        (self.folder / name).touch()

    @rule(name=names)
    def kill_the_shim(self, name: str) -> None:
        job = records.get(self.workspace, name)
        if job.shim and not job.ended:
            _kill(job.shim)

    @rule(name=names)
    def kill_the_command(self, name: str) -> None:
        job = records.get(self.workspace, name)
        for pid in marked(mark(str(job.run_id), job.attempt))[:1]:
            if who := identity_of(pid):
                _kill(who)

    @rule()
    def kill_the_supervisor_and_start_another(self) -> None:
        self._end_supervisor()
        own = os.getpid()
        self.supervisor = subprocess.Popen(
            [sys.executable, "-P", "-m", "jobs.reconcile"],
            env=os.environ | self.workspace.settings.environment(),
            preexec_fn=lambda: die_with(own),
        )

    @rule(tenths=st.integers(1, 4))
    def let_time_pass(self, tenths: int) -> None:
        time.sleep(tenths / 10)

    @rule(name=names)
    def what_has_ended_stays_as_it_is(self, name: str) -> None:
        status = records.get(self.workspace, name).status
        if name in self.ends:
            assert status == self.ends[name]
        if status in TERMINAL:
            self.ends[name] = status

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        for name in self.codes:
            (self.folder / name).touch()
        try:
            for name in self.codes:
                self._check(name)
            ran = (self.folder / "ran").read_text().splitlines() if (self.folder / "ran").exists() else []
            assert len(ran) == len(set(ran)), "an attempt was run twice"
        finally:
            self._end_supervisor()
            self.workspace.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _check(self, name: str) -> None:
        job = wait(self.workspace, name, seconds=LONG)
        assert self.ends.get(name, job.status) == job.status
        attempts = records.attempts(self.workspace, name)
        assert all(each.status in (*TERMINAL, "Lost") for each in attempts)
        if job.status == "Completed":
            assert (job.exit_code, self.codes[name]) == (0, 0)
            assert attempts[-1].status == "Completed"
            assert attempt_folder(self.workspace.home, name, job.attempt).exit.exists()
        left = [pid for each in attempts for pid in marked(mark(str(job.run_id), each.number))]
        assert left == []

    def _end_supervisor(self) -> None:
        if self.supervisor is not None:
            self.supervisor.kill()
            self.supervisor.wait()
            self.supervisor = None


def _kill(who: Identity) -> None:
    if is_alive(who):
        with suppress(ProcessLookupError):
            os.kill(who.pid, signal.SIGKILL)


_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.mark.timeout(170)
def test_whatever_happens_every_job_ends_once() -> None:
    machine = type("Bounded", (Jobs,), {})
    machine.TestCase.settings = settings(  # type: ignore[attr-defined]
        max_examples=5, stateful_step_count=14, deadline=None, suppress_health_check=_QUIET, print_blob=True
    )
    machine.TestCase().runTest()  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_happens_for_long_every_job_ends_once() -> None:
    machine = type("Long", (Jobs,), {})
    machine.TestCase.settings = settings(  # type: ignore[attr-defined]
        max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=_QUIET, print_blob=True
    )
    machine.TestCase().runTest()  # type: ignore[attr-defined]
