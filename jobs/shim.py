"""The small process that owns one job: it claims it, runs its command, outlives the submitter and records the end.

When the job has ended it takes the next one, and waits a moment for one: starting anew would cost more than the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from jobs import ending, idle, reconcile, states
from jobs.command_process import CannotMount, Command, CommandProcess, shell
from jobs.folders import AttemptFolder, attempt_folder, place_of
from jobs.inputs import Laid, lay_code, lay_out
from jobs.laying import lay_outputs, placed
from jobs.leftovers import SHIM, mark
from jobs.linux import adopt_orphans, call_itself
from jobs.logs import LogWriter
from jobs.needs import Capacity
from jobs.preparation import Python, own_python, prepare
from jobs.sampling import Sampler
from jobs.states import CANCEL_REQUESTED, CANCELED, PREPARING, RUNNING, STARTING, Claimed
from jobs.tracking_door import TrackingDoor
from jobs.variables import DEVICES, Told, variables
from jobs.watch import Rules, Watch, listen
from workspace.blobs import Blobs
from workspace.errors import StudioloError, Unavailable
from workspace.light_database import LightDatabase
from workspace.paths import write_atomically, writing
from workspace.processes import boot, host, own_identity
from workspace.settings import Settings

T = TypeVar("T")
FOLLOWERS = 3  # processes that follow a job on Ray, one after the other, where they die
LONGEST_PAUSE = 5.0  # seconds between two tries to record the end


def main() -> None:
    """Own one job after another, for as long as there are some."""
    settings = Settings.from_environment()
    database = LightDatabase.of(settings)
    place, capacity = place_of(settings.home), Capacity.of(settings, visible=os.environ.get(DEVICES))
    call_itself(SHIM)
    adopt_orphans()
    listen()
    while True:
        claimed = states.claim(database, place, capacity)
        if claimed is None:
            if not idle.wait(settings.home):
                return
        # The job has taken its place; who fits beside it need not wait for its end.
        elif not states.is_room(database, place, capacity) or idle.wake(settings.home) or not _is_copy(database):
            Shim(settings, database, claimed).run()


def _is_copy(database: LightDatabase) -> bool:
    """Make a copy of this process that lives on its own and looks for a job; return whether this is the copy."""
    database.close()
    if os.fork():
        return False
    os.setsid()
    adopt_orphans()
    return True


class Shim:
    """The owner of one attempt."""

    def __init__(self, settings: Settings, database: LightDatabase, claimed: Claimed) -> None:
        self._settings = settings
        self._database = database
        self._job = claimed
        self._spec = claimed.spec
        self._folder = attempt_folder(settings.home, claimed.name, claimed.number)
        self._blobs = Blobs(settings.home / "blobs")

    def run(self) -> None:
        """Run the attempt to its end, once in the life of the world."""
        if self._keep_on(lambda: _claims(self._folder)):
            self._attempt(self._executed)
            self._keep_on(self._close)
        else:  # the records were restored from a backup: what has become of the attempt is on the disk
            self._keep_on(self._settle)

    def go_on(self) -> None:
        """Follow an attempt that Ray runs to its end, in place of the shim that had begun it."""
        self._attempt(self._followed)
        self._keep_on(self._close)

    def _attempt(self, executed: Callable[[LogWriter, Sampler], tuple[int | None, str]]) -> None:
        log = LogWriter(self._folder.logs)
        sampler = Sampler(self._folder.samples, self._job.devices)
        try:
            code, how, error = *executed(log, sampler), None
            if self._spec.ray is not None:
                code, how = self._followed_again(code, how, log, sampler)
        except StudioloError as problem:
            code, how, error = None, ending.REFUSED, _told(problem)
            log.note(error)
        log.close()
        record = {"code": code, "ending": how, "error": error, "at": time.time(), "usage": sampler.end()}
        if self._spec.ray is not None:
            from jobs.ray.attempts import with_outcome

            marker = mark(self._spec.run_id, self._job.number)
            record = self._keep_on(lambda: with_outcome(record, self._folder, marker))
        self._keep_on(lambda: write_atomically(self._folder.exit, json.dumps(record)))

    def _executed(self, log: LogWriter, sampler: Sampler) -> tuple[int | None, str]:
        lay_code(self._spec.code, self._folder.code, self._blobs)
        python = self._prepared(log, sampler)
        if python is None:
            return None, CANCELED
        if self._spec.carries:
            from jobs.carrying import carry  # here: most jobs begin anew

            carry(self._folder)
        outputs = lay_outputs(self._spec.outputs, self._folder.outputs)
        with TrackingDoor(self._settings, self._spec) as door:
            process, output = self._begun(log, python, outputs, door)
            self._say(RUNNING)
            try:
                return Watch(process.pid, output, log, sampler, self._rules(), knock=door).wait()
            finally:
                os.close(output)
                python.end(mark(self._spec.run_id, self._job.number))

    def _followed(self, log: LogWriter, sampler: Sampler) -> tuple[int | None, str]:
        from jobs.ray.attempts import followed, known, told_before

        with TrackingDoor(self._settings, self._spec, before=told_before(self._folder)) as door:
            read, write = os.pipe2(os.O_CLOEXEC)
            process = CommandProcess(followed(self._folder, known(self._folder)), write)
            os.close(write)
            process.go()
            try:
                return Watch(process.pid, read, log, sampler, self._rules(), knock=door).wait()
            finally:
                os.close(read)

    def _followed_again(self, code: int | None, how: str, log: LogWriter, sampler: Sampler) -> tuple[int | None, str]:
        """Follow again, a few times, where who followed has died: what Ray runs goes on meanwhile."""
        from jobs.ray.attempts import is_told

        for _ in range(FOLLOWERS):
            if how == ending.ENDED and not is_told(self._folder):
                code, how = self._followed(log, sampler)
        return code, how

    def _rules(self) -> Rules:
        later = 0.0 if self._spec.ray is None else float(self._spec.ray["later"])
        return Rules(
            timeout=self._spec.timeout, grace=self._spec.grace + later, is_canceled=self._is_canceled, duty=self._duty
        )

    def _prepared(self, log: LogWriter, sampler: Sampler) -> Python | None:
        """Return the Python of the job, made first where it is not there; None where somebody cancelled meanwhile."""
        if self._spec.environment is None:
            return own_python(self._spec)
        if self._spec.prepared is None:
            self._say(PREPARING)
        rules = Rules(grace=1.0, is_canceled=self._is_canceled, duty=self._duty)
        return prepare(self._spec, self._folder.path, log, lambda pid, out, sink: Watch(pid, out, sink, sampler, rules))

    def _begun(
        self, log: LogWriter, python: Python, outputs: Mapping[str, str], door: TrackingDoor
    ) -> tuple[CommandProcess, int]:
        """Start the command; where the kernel cannot show its inputs read-only, with copies of them."""
        for protect in (True, False) if self._spec.ray is None else (False,):
            laid = lay_out(
                self._spec.data, self._folder.inputs, blobs=self._blobs, protect=protect,
                checkouts=self._settings.home / "checkouts",
            )  # fmt: skip
            for name in laid.unprotected:
                log.note(f"input {name!r} is read where it is, and nothing keeps the command from writing to it")
            read, write = os.pipe2(os.O_CLOEXEC)
            process = CommandProcess(self._command(python, laid, outputs, door), write)
            os.close(write)
            self._written_down(process.pid)
            try:
                process.go()
            except (CannotMount, StudioloError) as problem:
                os.close(read)
                os.waitpid(process.pid, 0)
                if isinstance(problem, StudioloError):
                    raise
                _remove_targets(laid)
                log.note(f"inputs are copies: the kernel does not show them read-only ({problem})")
                continue
            return process, read
        raise Unavailable("the command cannot be started", hint="see shim.log of the attempt")

    def _command(self, python: Python, laid: Laid, outputs: Mapping[str, str], door: TrackingDoor) -> Command:
        literals = {name: str(value) for name, value in self._spec.inputs.items() if name not in self._spec.data}
        told = Told(
            home=self._settings.home,
            name=self._job.name,
            number=self._job.number,
            inputs=literals | dict(laid.values),
            outputs=outputs,
            devices=None if self._job.visible is None else ",".join(self._job.visible),
            python=python.variables,
            tracking=door.variables,
            settings=self._settings.environment(),
        )
        environment = variables(self._spec, told)
        text = placed(self._spec.command, laid.values, outputs)
        if self._spec.distribution:
            from jobs.distribution.plan import lay  # here: most jobs are one process

            text = lay(self._spec.distribution, text, self._folder.path)
        line = python.line(shell(text, environment["PATH"]), self._folder.path, environment, laid)
        shown = laid.read_only if python.container is None else {}
        around = python.around(environment)
        command = Command(line=line, folder=self._folder.code, environment=around, read_only=shown)
        if self._spec.ray is None:
            return command
        from jobs.ray.attempts import conducted

        return conducted(self._spec, command, self._folder)

    def _written_down(self, pid: int) -> None:
        record = {"pid": pid, "host": host(), "boot": boot(), "at": time.time()}
        write_atomically(self._folder.running, json.dumps(record))

    def _is_canceled(self, thorough: bool) -> bool:
        """Whether somebody has asked; a file says so at once, the database where the file was not written."""
        if self._folder.cancel.exists():
            return True
        try:
            return thorough and states.status_of(self._database, self._job.name) == CANCEL_REQUESTED
        except Unavailable:
            return False  # asked again soon

    def _say(self, status: str) -> None:
        """Show where we are. The job goes on where the database does not take it: its files tell as well."""
        try:
            states.move(self._database, self._job.name, self._job.number, old=(STARTING, PREPARING), new=status)
        except Unavailable as problem:
            _note(f"status {status} is not shown: {problem}")

    def _duty(self) -> None:
        """See to other jobs, as every living shim does now and then."""
        try:
            reconcile.see_to_others(self._settings, self._database)
        except Unavailable as problem:
            _note(f"other jobs are seen to later: {problem}")

    def _close(self) -> None:
        ending.end_attempt(self._database, self._settings, self._job.name, self._job.number, self._spec)

    def _settle(self) -> None:
        reconcile.settle_dead(self._settings, self._database, self._job.name, self._job.number, self._spec)

    def _keep_on(self, act: Callable[[], T]) -> T:
        """Do what must be done, again where the disk is full or the database does not answer."""
        pause = 0.1
        while True:
            try:
                return act()
            except Unavailable as problem:
                _note(f"tried again: {problem}")
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)


def _claims(folder: AttemptFolder) -> bool:
    """Take the attempt for this process; False where any process has ever had it."""
    with writing(folder.path):
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = os.open(folder.claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return False
        own = own_identity()
        try:
            os.write(handle, json.dumps({"pid": own.pid, "started_at": own.started_at, "boot": boot()}).encode())
            os.fsync(handle)
        except OSError:  # nothing has begun: it may be tried again
            folder.claim.unlink()
            raise
        finally:
            os.close(handle)
        log = os.open(folder.path / "shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    return True


def _note(text: str) -> None:
    """Say it in shim.log, as far as the disk has room."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _remove_targets(laid: Laid) -> None:
    for target in laid.read_only:
        target.rmdir() if target.is_dir() else target.unlink()


def _told(problem: StudioloError) -> str:
    return f"{problem}; {problem.hint}" if problem.hint else str(problem)


if __name__ == "__main__":
    main()
