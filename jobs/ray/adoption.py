"""An attempt whose shim has died while Ray runs it is followed by another shim, rather than run again."""

from __future__ import annotations

import os
import sys

from jobs import reconcile
from jobs.folders import AttemptFolder, attempt_folder
from jobs.leftovers import SHIM
from jobs.linux import adopt_orphans, call_itself
from jobs.ray.conductor import PLAN
from jobs.shim import Shim
from jobs.spec import Spec
from jobs.states import Claimed
from jobs.watch import listen
from workspace.light_database import LightDatabase, from_json
from workspace.processes import Identity, boot, host, own_identity
from workspace.settings import Settings


def can_be_followed(folder: AttemptFolder) -> bool:
    """Whether an attempt was handed to Ray and nobody has written down its end."""
    return folder.running.exists() and (folder.path / PLAN).exists() and not folder.exit.exists()


def hand_over(settings: Settings, database: LightDatabase, name: str, number: int) -> None:
    """Start a shim that follows an attempt whose own has died; of several who do, one shim follows it."""
    own = own_identity()
    query = "SELECT shim_pid, shim_started_at FROM attempts WHERE job = :name AND number = :number"
    row = database.rows(query, name=name, number=number)[0]
    dead = Identity(row["shim_pid"], row["shim_started_at"])
    if dead == own or not _take(database, name, number, old=dead, new=own):
        return
    reconcile.start(settings, "jobs.ray.adoption", name, str(number), str(own.pid), str(own.started_at))


def _take(database: LightDatabase, name: str, number: int, *, old: Identity, new: Identity) -> bool:
    """Become the owner of an attempt, in place of another; False where somebody else was faster."""
    with database.write() as statements:
        taken = statements.change(
            "UPDATE attempts SET shim_pid = :pid, shim_started_at = :since, host = :host, boot = :boot "
            "WHERE job = :name AND number = :number AND shim_pid = :old_pid AND shim_started_at = :old_since",
            name=name, number=number, pid=new.pid, since=new.started_at, host=host(), boot=boot(),
            old_pid=old.pid, old_since=old.started_at,
        )  # fmt: skip
    return bool(taken)


def main() -> None:
    """Take the attempt from whoever has started us, and follow it to its end."""
    name, number = sys.argv[1], int(sys.argv[2])
    settings = Settings.from_environment()
    database = LightDatabase.of(settings)
    call_itself(SHIM)
    adopt_orphans()
    listen()
    giver = Identity(int(sys.argv[3]), float(sys.argv[4]))
    if not _take(database, name, number, old=giver, new=own_identity()):
        return
    row = database.rows("SELECT spec FROM jobs WHERE name = :name", name=name)[0]
    with (attempt_folder(settings.home, name, number).path / "shim.log").open("ab") as log:
        os.dup2(log.fileno(), 2)
    claimed = Claimed(name=name, number=number, spec=Spec.of(from_json(row["spec"])), devices=(), visible=None)
    Shim(settings, database, claimed).go_on()


if __name__ == "__main__":
    main()
