"""A process while it runs: its words are kept, its end is noticed, its time is limited, and nothing of it stays."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from jobs.ending import ENDED, TIMED_OUT
from jobs.leftovers import PATIENCE, SHIM, end_descendants
from jobs.sampling import EVERY, FIRST, Sampler
from jobs.states import CANCELED

LOOK = 1.0  # seconds between two looks for what nobody tells us by a signal
_CHUNK = 1 << 16


class Sink(Protocol):
    """Where words go."""

    def write(self, chunk: bytes) -> None:
        """Take some."""
        ...


class Door(Protocol):
    """A port at which somebody may knock."""

    @property
    def handle(self) -> int | None:
        """What can be read when somebody does."""
        ...

    def open(self) -> None:
        """Have it answered."""
        ...

    def end(self) -> None:
        """Have it answered no more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When the process is ended, and what is done every few seconds besides."""

    timeout: float | None = None
    grace: float = 10.0
    is_canceled: Callable[[bool], bool] = lambda _thorough: False
    duty: Callable[[], None] = lambda: None


class Watch:
    """One process, a child of this one, and all that descend from it."""

    def __init__(
        self, pid: int, output: int, sink: Sink, sampler: Sampler, rules: Rules, *, knock: Door | None = None
    ) -> None:
        self._pid = pid
        self._output = output
        self._sink = sink
        self._sampler = sampler
        self._rules = rules
        self._door = knock
        self._code: int | None = None
        self._is_alone = False  # whether no child of ours lives
        self._how = ENDED
        self._kill_at = 0.0
        now = time.monotonic()
        self._deadline = now + rules.timeout if rules.timeout is not None else None
        self._sample_at = now + FIRST
        os.set_blocking(output, False)

    def wait(self) -> tuple[int, str]:
        """Return the exit code, as `subprocess` has it, and how it ended, once nothing of it is left."""
        wake = _woken_by_signals()
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        poll.register(wake, select.POLLIN)
        if self._door is not None and self._door.handle is not None:
            poll.register(self._door.handle, select.POLLIN)
        try:
            # Looked at before waiting: it may have ended before signals were listened to.
            while self._reap() is None:
                self._keep_time()
                for handle, _ in poll.poll(self._pause() * 1000):
                    if handle == wake:
                        os.read(wake, 4096)
                    elif handle != self._output and self._door is not None:
                        poll.unregister(handle)
                        self._door.open()
                    elif not self._read():
                        poll.unregister(self._output)
            if self._door is not None:
                self._door.end()  # who answers is a child of ours too, and nothing that was left behind
                self._reap()
            self._clear()
        finally:
            os.close(signal.set_wakeup_fd(-1))
            os.close(wake)
        return self._code or 0, self._how

    def _pause(self) -> float:
        now = time.monotonic()
        moments = [now + LOOK, self._sample_at]
        if self._how != ENDED:
            moments.append(self._kill_at)
        elif self._deadline is not None:
            moments.append(self._deadline)
        return max(0.0, min(moments) - now) + 0.001

    def _keep_time(self) -> None:
        now = time.monotonic()
        thorough = now >= self._sample_at
        if thorough:
            self._sampler.look()
            self._rules.duty()
            self._sample_at = now + EVERY
        if self._how == ENDED:
            if self._rules.is_canceled(thorough):
                self._end(CANCELED)
            elif self._deadline is not None and now >= self._deadline:
                self._end(TIMED_OUT)
        elif now >= self._kill_at:
            end_descendants(os.getpid())
            self._kill_at = now + LOOK

    def _end(self, how: str) -> None:
        self._how = how
        self._kill_at = time.monotonic() + self._rules.grace
        try:
            os.killpg(self._pid, signal.SIGTERM)
            os.killpg(self._pid, signal.SIGCONT)  # one that is stopped hears nothing
        except ProcessLookupError:
            return  # it ended at this moment

    def _read(self) -> bool:
        """Keep what was said; return whether more may come."""
        try:
            chunk = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return True
        if chunk:
            self._sink.write(chunk)
        return bool(chunk)

    def _reap(self) -> int | None:
        """Take note of the children that have ended; return the exit code of the process once it is known."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self._is_alone = True
                return self._code
            if ended is None:
                self._is_alone = False
                return self._code
            is_shim = _name(ended.si_pid) == SHIM
            _, status, usage = os.wait4(ended.si_pid, 0)
            if not is_shim:  # the job of another shim is charged for it
                self._sampler.reaped(usage)
            if ended.si_pid == self._pid:
                self._code = os.waitstatus_to_exitcode(status)

    def _clear(self) -> None:
        """End what the process has left behind, then read what is left to read."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_alone and time.monotonic() < deadline and end_descendants(os.getpid()):
            time.sleep(0.005)
            self._reap()
        self._reap()
        try:
            while time.monotonic() < deadline and (chunk := os.read(self._output, _CHUNK)):
                self._sink.write(chunk)
        except BlockingIOError:
            return  # somebody outside still has it, and says nothing now


def _woken_by_signals() -> int:
    """Return a descriptor that can be read when a child has ended or somebody knocks (SIGUSR1)."""
    wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    return wake


def listen() -> None:
    """Take note of the signals that wake a watch. Before this, a knock would kill."""
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, _heard)


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor tells."""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
