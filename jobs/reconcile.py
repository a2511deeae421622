"""Bringing the records to what has become of shims: one that died is noticed, what it left is settled or begun anew."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import idle, states
from jobs.children import cancel_children
from jobs.ending import end_attempt
from jobs.folders import AttemptFolder, attempt_folder, place_of, read_record
from jobs.leftovers import MARKER, SHIM, end_marked, mark
from jobs.linux import call_itself
from jobs.needs import Capacity
from jobs.spec import Spec
from jobs.states import LOST, Ending
from jobs.variables import DEVICES, DOOR
from workspace.errors import StudioloError
from workspace.light_database import LightDatabase, Row
from workspace.processes import Identity, boot, host, is_alive
from workspace.settings import Settings

if TYPE_CHECKING:
    from workspace.home import Workspace

EVERY = 1.0  # seconds between two looks of a supervisor
STALE = 60.0  # seconds without a sign after which a shim of another machine counts as dead
_OWNED = (
    "SELECT j.name, j.status, j.run_id, j.place, a.number, a.host, a.boot, a.shim_pid, a.shim_started_at "
    f"FROM jobs j JOIN attempts a ON a.job = j.name AND a.number = j.attempt WHERE j.status IN {states.ACTIVE!r} "
)
# What our own process is told does not hold for those that live on; the token of a command's door least of all.
_NOT_PASSED = (MARKER, DOOR, "STUDIOLO_JOB", "PYTHONDONTWRITEBYTECODE", "MLFLOW_RUN_ID")


def look(workspace: Workspace) -> int:
    """Settle every job whose shim died, start what there is room for; return how many were settled."""
    return tend(workspace.settings, workspace.light)


def settle(workspace: Workspace, name: str) -> bool:
    """Settle one job if its shim died; return whether anything changed."""
    rows = workspace.light.rows(f"{_OWNED} AND j.name = :name", name=name)
    place = place_of(workspace.home)
    changed = [
        _settle(workspace.settings, workspace.light, row)
        for row in rows
        if row["place"] in (place, "") and not _lives(workspace.settings, row)
    ]
    if any(changed):
        start_shim_if_room(workspace.settings, workspace.light, place)
    return any(changed)


def tend(settings: Settings, database: LightDatabase) -> int:
    """As `look`, for those who have no more of a workspace than its records."""
    settled = sum(_settle(settings, database, row) for row in _dead(settings, database))
    start_shim_if_room(settings, database, place_of(settings.home))
    return settled


def see_to_others(settings: Settings, database: LightDatabase) -> None:
    """As `look`, for a shim whose own job does not wait: what takes time is done by another process."""
    if _dead(settings, database):
        start(settings, "jobs.reconcile", "once")
    start_shim_if_room(settings, database, place_of(settings.home))


def supervise(workspace: Workspace, stop: threading.Event) -> None:
    """See to the jobs again and again until `stop`; of several who do, one leads and the others wait."""
    handle = os.open(_made(workspace.home / "jobs") / "supervisor.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        leads = False
        while not stop.is_set():
            leads = leads or _leads(handle)
            if leads:
                try:
                    look(workspace)
                except Exception as problem:  # noqa: BLE001  who sees to all jobs goes on, whatever becomes of one
                    told = problem if isinstance(problem, StudioloError) else traceback.format_exc()
                    print(f"jobs are seen to later: {told}", file=sys.stderr, flush=True)  # noqa: T201
            stop.wait(EVERY)
    finally:
        os.close(handle)


def start_shim_if_room(settings: Settings, database: LightDatabase, place: str) -> None:
    """Start a shim where a queued job could run now."""
    capacity = Capacity.of(settings, visible=os.environ.get(DEVICES))
    if states.is_room(database, place, capacity) and not idle.wake(settings.home):
        start(settings, "jobs.shim")


def start(settings: Settings, module: str, *arguments: str) -> None:
    """Start a module as a process that lives on, in a session of its own: `jobs.shim` takes the next job."""
    import subprocess  # here: a shim seldom starts another one so, and must be light

    not_passed = (*_NOT_PASSED, "MLFLOW_TRACKING_TOKEN") if DOOR in os.environ else _NOT_PASSED
    environment = {name: value for name, value in os.environ.items() if name not in not_passed}
    with (_made(settings.home / "logs") / "shims.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            env=environment | settings.environment(),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def settle_dead(settings: Settings, database: LightDatabase, name: str, number: int, spec: Spec) -> bool:
    """Settle an attempt that nobody conducts any more, by what it has left; return whether this did it."""
    folder = attempt_folder(settings.home, name, number)
    if spec.ray is not None:
        from jobs.ray import adoption  # here: it starts a shim, which imports this

        if adoption.can_be_followed(folder):
            adoption.hand_over(settings, database, name, number)
            return False
    end_marked(mark(spec.run_id, number))
    if read_record(folder.exit) is not None:
        return end_attempt(database, settings, name, number, spec) is not None
    if folder.running.exists():
        lost = Ending(status=LOST, error="its supervising process died while it ran")
    else:
        told = folder.path / "shim.log"
        lost = Ending(status=LOST, error=f"its supervising process died before it ran; see {told}", again=False)
    status = states.close(database, name, number, lost)
    if spec.ours and status in states.TERMINAL:
        cancel_children(database, settings.home, name)
    return status is not None


def _settle(settings: Settings, database: LightDatabase, row: Row) -> bool:
    spec = states.readable(database, row["name"])
    return spec is None or settle_dead(settings, database, row["name"], row["number"], spec)


def _dead(settings: Settings, database: LightDatabase) -> list[Row]:
    """Return the attempts of this place whose shims have died."""
    rows = database.rows(f"{_OWNED} AND j.place = :place", place=place_of(settings.home))
    return [row for row in rows if not _lives(settings, row)]


def _lives(settings: Settings, row: Row) -> bool:
    """Whether the shim of an attempt lives; on this machine its identity tells, never the time alone."""
    if row["host"] == host():
        return row["boot"] == boot() and is_alive(Identity(row["shim_pid"], row["shim_started_at"]))
    folder = attempt_folder(settings.home, row["name"], row["number"])
    return _seconds_since_sign(folder) < STALE


def _seconds_since_sign(folder: AttemptFolder) -> float:
    """Return how long ago another machine's shim gave a sign, by the clock of the file system they share."""
    signs = [path.stat().st_mtime for path in (folder.samples, folder.claim, folder.running) if path.exists()]
    if not signs:
        return STALE
    probe = folder.path / ".now"
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink(missing_ok=True)
    return now - max(signs)


def _leads(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def main(arguments: Sequence[str]) -> None:
    """Be a supervisor of the workspace that the environment names, until killed; with `once`, look once."""
    from workspace.home import Workspace

    call_itself(SHIM)
    with Workspace.open(settings=Settings.from_environment()) as workspace:
        if "once" in arguments:
            look(workspace)
        else:
            supervise(workspace, threading.Event())


if __name__ == "__main__":
    main(sys.argv[1:])
