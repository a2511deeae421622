"""What is done when a command has ended: outputs appear in one step and become assets, logs are kept, the job ends.

Every step may be done again: whoever finds a job whose shim died in the middle goes on from `exit.json`.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import states
from jobs.children import cancel_children
from jobs.folders import AttemptFolder, attempt_folder, outputs_of, read_record
from jobs.spec import BoundOutput, Spec
from jobs.states import CANCELED, COMPLETED, FAILED, FINALIZING, LOST, Ending
from workspace.errors import StudioloError, Unavailable
from workspace.light_database import LightDatabase
from workspace.paths import writing
from workspace.settings import Settings

if TYPE_CHECKING:
    from workspace.home import Workspace

COLLECTED = ("outputs", "logs")  # of the folder that the command ran in
_LASTING = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip
ENDED, TIMED_OUT, REFUSED = "Ended", "TimedOut", "Refused"  # how a command ended, besides Canceled


def end_attempt(database: LightDatabase, settings: Settings, name: str, number: int, spec: Spec) -> str | None:
    """Close an attempt that has left `exit.json`; return the job's status, None where somebody else was faster.

    Raises Unavailable where the disk is full or the database does not answer: it is to be done again later.
    """
    folder = attempt_folder(settings.home, name, number)
    record = read_record(folder.exit) or {}
    if spec.ours and folder.told.exists():
        record["error"] = record.get("error") or folder.told.read_text()
    ending = ending_of(record, spec)
    collected = _has_collected(folder)
    if collected or (ending.status == COMPLETED and spec.outputs):
        active = (states.STARTING, states.PREPARING, states.RUNNING)
        states.move(database, name, number, old=active, new=FINALIZING)
    made: tuple[str, ...] = ()
    try:
        _keep_artifacts(settings.home, folder, spec.run_id)
        if ending.status == COMPLETED:
            _publish(settings.home, name, folder)
            made = _register(settings, name, spec) if spec.outputs else ()
    except Unavailable as problem:
        if not _lasts(problem.__cause__):
            raise
        ending = _failed(ending, str(problem))
    except StudioloError as problem:
        ending = _failed(ending, str(problem))
    except Exception as problem:  # noqa: BLE001  raised again it would stand in the way of all other jobs
        ending = _failed(ending, f"what it left cannot be kept: {type(problem).__name__}: {problem}")
    status = states.close(database, name, number, ending, made)
    if spec.ours and status in states.TERMINAL:
        cancel_children(database, settings.home, name)
    return status


def ending_of(record: dict[str, Any], spec: Spec) -> Ending:
    """Read how a command ended."""
    how, code, usage = record.get("ending"), record.get("code"), record.get("usage") or {}
    if how == CANCELED:
        return Ending(status=CANCELED, code=code, usage=usage)
    if how == TIMED_OUT:
        error = f"it ran longer than its limit of {spec.timeout:g} s"
        return Ending(status=FAILED, code=code, error=error, usage=usage, again=False)
    if how == LOST:
        return Ending(status=LOST, code=code, error=record.get("error"), usage=usage)
    if how == REFUSED:
        return Ending(status=FAILED, code=code, error=record.get("error"), usage=usage, again=False)
    # A job of ours says itself that it failed; one that was killed goes on from where it was.
    again = not (spec.ours and code is not None and code > 0)
    status = COMPLETED if code == 0 else FAILED
    return Ending(status=status, code=code, error=record.get("error"), usage=usage, again=again)


def _failed(ending: Ending, error: str) -> Ending:
    return Ending(status=FAILED, code=ending.code, error=error, usage=ending.usage, again=False)


def _lasts(cause: BaseException | None) -> bool:
    """Whether no waiting mends what stopped us from writing: another time the same would happen."""
    return any(f"[Errno {number}]" in str(cause) for number in _LASTING)  # of a folder, many are told as one


def _has_collected(folder: AttemptFolder) -> bool:
    return any((folder.code / name).is_dir() for name in COLLECTED)


def _keep_artifacts(home: Path, folder: AttemptFolder, run_id: str) -> None:
    """Put what the command left in ./outputs and ./logs, and what it said, among the artifacts of its run."""
    artifacts = home / "runs" / run_id / "artifacts"
    for name in COLLECTED:
        source = folder.code / name
        if source.is_dir() and not source.is_symlink():
            with writing(artifacts / name):
                _merge(source, artifacts / name)
    if folder.logs.exists():
        with writing(artifacts / folder.logs.name):
            (artifacts / folder.logs.name).mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in folder.logs.iterdir():
                target = artifacts / folder.logs.name / path.name
                target.unlink(missing_ok=True)
                with suppress(FileExistsError):  # somebody else who ends this attempt was faster
                    os.link(path, target)


def _merge(source: Path, target: Path) -> None:
    """Move a file or folder to a place where one may be already, from an earlier attempt or from a half of this."""
    is_folder, was_folder = (path.is_dir() and not path.is_symlink() for path in (source, target))
    if is_folder and was_folder:
        for path in source.iterdir():
            _merge(path, target / path.name)
        source.rmdir()
        return
    if was_folder:
        shutil.rmtree(target)
    elif is_folder:
        target.unlink(missing_ok=True)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.rename(target)


def _publish(home: Path, name: str, folder: AttemptFolder) -> None:
    """Show the outputs, all at once: nobody ever sees some of them, or those of an attempt that failed."""
    target = outputs_of(home, name)
    if folder.outputs.exists() and not target.exists():
        with writing(target), suppress(FileNotFoundError):  # somebody else who ends this attempt was faster
            folder.outputs.rename(target)


def _register(settings: Settings, name: str, spec: Spec) -> tuple[str, ...]:
    from workspace.home import Workspace  # late: SQLAlchemy takes longer to import than most jobs to end

    with Workspace.open(settings=settings) as workspace:
        found = []
        for key, output in spec.outputs.items():
            place = outputs_of(settings.home, name) / key
            if place.exists():
                found.append(_asset(workspace, name, key, output, Path(spec.folder)))
    return tuple(found)


def _asset(workspace: Workspace, job: str, key: str, output: BoundOutput, folder: Path) -> str:
    place = outputs_of(workspace.home, job) / key
    kind = "model" if output.type.endswith("_model") else "data"
    called = output.asset or f"{job}-{key}"
    asset = workspace.assets.put(
        kind, called, place, version=output.version or None, properties={"type": output.type}, share=True
    )
    if output.path:
        _send(workspace, _filled(output.path, job, key), place, folder)
    return asset.ref


def _filled(path: str, job: str, key: str) -> str:
    """Return the path of an output with the words in it that stand for the job and its output."""
    values = {"name": job, "output_name": key, "default_datastore": "workspaceblobstore"}
    from jobs.files.expressions import EXPRESSION  # late: it reads all kinds of files, and a shim must be light

    return EXPRESSION.sub(lambda found: values.get(found[1], found[0]), path)


def _send(workspace: Workspace, path: str, place: Path, folder: Path) -> None:
    """Put an output where its file says that it goes: a folder, a datastore, a URL."""
    from jobs.data.places import destination

    target = destination(workspace, path, folder)
    if not isinstance(target, Path):
        from jobs.data.fetching import send

        send(target, place)
        return
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.copytree(place, target, dirs_exist_ok=True)
        else:
            shutil.copy2(place, target)
