"""Running a job again as it was: the same code, data, command and variables; and what is different all the same."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import records, states, submit
from jobs.folders import attempt_folder, outputs_of, place_of, read_record
from jobs.records import JobRecord
from jobs.snapshots import signs
from jobs.spec import DIRECT, BoundInput, Spec
from workspace import environment as machine
from workspace.blobs import Blob, files_of
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace
from workspace.light_database import to_json

REPLAYED = "studiolo.replay_of"  # the tag that names the job that was run again

COMMANDS = ("command", "parallel", "spark")  # kinds of jobs that are one command each


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was."""

    what: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before} → {self.now}"


def replay(workspace: Workspace, name: str) -> tuple[JobRecord, tuple[Difference, ...]]:
    """Submit a job again from its snapshot, and return it with what differs from then.

    Raises NotFound or Conflict where its code or its data cannot be had any more.
    """
    before = records.get(workspace, name)
    if before.kind not in COMMANDS:
        raise Invalid(f"job {name!r} is of kind {before.kind}; run again are {', '.join(COMMANDS)}")
    spec = Spec.of(before.spec)
    _check_content(workspace, spec)
    made_with = machine.describe(Path(spec.folder))
    found = tuple(_differences(workspace, before, spec, made_with))
    again = replace(
        spec,
        run_id=uuid.uuid4().hex,
        made_with=made_with,
        prepared=_prepared(spec),
        tags={**spec.tags, REPLAYED: before.name},
        # A version is never written twice, and what is elsewhere is not written over.
        outputs={key: replace(output, version="", path="") for key, output in spec.outputs.items()},
    )
    called = f"{before.name}-replay-{secrets.token_hex(2)}"
    submit.record(workspace, _row(workspace, before, called, again))
    return records.get(workspace, called), found


def compare_outputs(workspace: Workspace, before: JobRecord, after: JobRecord) -> tuple[Difference, ...]:
    """Return in what the outputs of two jobs differ, file by file; nothing where they are the same to the byte."""
    found: list[Difference] = []
    if before.status != after.status or before.exit_code != after.exit_code:
        found.append(Difference("status", _ended(before), _ended(after)))
    for name in sorted({*before.spec["outputs"], *after.spec["outputs"]}):
        old, new = (_files(outputs_of(workspace.home, job.name) / name) for job in (before, after))
        for path in sorted({*old, *new}):
            if old.get(path) != new.get(path):
                found.append(Difference(f"output {name}/{path}".rstrip("/"), _short(old, path), _short(new, path)))
    return tuple(found)


def _check_content(workspace: Workspace, spec: Spec) -> None:
    """Raise where content is gone or damaged: what is run then would be something else."""
    if spec.code:
        workspace.blobs.verify(Blob(spec.code, 0, is_folder=True))
    for name, given in spec.data.items():
        if given.place and not Path(given.place).exists():
            raise NotFound(f"input {name!r} was read at {given.place}, and is there no more", hint="put it back")
        if given.digest.startswith("sha256:"):
            workspace.blobs.verify(Blob(given.digest, 0, is_folder=given.is_folder))


def _differences(
    workspace: Workspace, before: JobRecord, spec: Spec, made_with: Mapping[str, Any]
) -> Iterator[Difference]:
    for name, given in spec.data.items():
        yield from _of_input(name, given)
    then = spec.made_with
    yield from _of_git(then.get("git") or {}, made_with.get("git") or {})
    if spec.environment is None:
        yield from _changed("Python", then.get("python"), made_with["python"])
        packages, now = then.get("packages") or {}, made_with["packages"]
        for name in sorted({*packages, *now}):
            yield from _changed(name, packages.get(name), now.get(name))
    else:
        yield from _of_environment(workspace, before, spec)
    hardware, here = then.get("hardware") or {}, made_with["hardware"]
    for name in ("system", "cpu", "cores", "memory", "gpus"):
        yield from _changed(name, _word(hardware.get(name)), _word(here.get(name)))


def _of_input(name: str, given: BoundInput) -> Iterator[Difference]:
    if given.mode == DIRECT:
        yield Difference(f"input {name}", f"was read at {given.path}", "nobody knows whether it has changed")
    elif given.digest.startswith("signs:"):
        place = Path(given.place)
        files = [(place.name, place)] if place.is_file() else [(str(p.relative_to(place)), p) for p in files_of(place)]
        if given.digest != f"signs:{signs(files)}":
            yield Difference(f"input {name}", f"{given.place} as it was", "has other files, sizes or times")
    elif given.place:
        yield Difference(f"input {name}", f"could be written to at {given.place}", "is as the job left it")


def _of_git(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Tell where the folder's repository stands; what is run is the snapshot, whatever that is."""
    told = "the repository of its folder (the snapshot is run)"
    yield from _changed(told, then.get("commit"), now.get("commit"))
    if then.get("dirty"):
        yield Difference(told, "had changes that no commit has", "the snapshot has them")


def _of_environment(workspace: Workspace, before: JobRecord, spec: Spec) -> Iterator[Difference]:
    made = _prepared(spec)
    if made is None:
        yield Difference("environment", "was made", "is to be made anew")
        return
    last = attempt_folder(workspace.home, before.name, before.attempt)
    record = read_record(last.python)
    if record is None:
        return
    from jobs.environments import store

    then, now = set(record["packages"]), set(store.read(Path(made["folder"])).packages)
    for line in sorted(then ^ now):
        yield Difference("package", *((line, "gone") if line in then else ("none", line)))


def _prepared(spec: Spec) -> dict[str, Any] | None:
    if spec.environment is None:
        return None
    from jobs import preparation

    found = preparation.find(preparation.read_environment(spec.environment, Path(spec.folder)))
    return None if found is None else preparation.plain(found)


def _changed(what: str, before: Any, now: Any) -> Iterator[Difference]:
    if before != now and before is not None:
        yield Difference(what, str(before), "gone" if now is None else str(now))


def _word(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(str(each.get("name") if isinstance(each, dict) else each) for each in value) or "none"
    return None if value is None else str(value)


def _ended(job: JobRecord) -> str:
    return job.status if job.exit_code is None else f"{job.status} with exit code {job.exit_code}"


def _files(place: Path) -> dict[str, str]:
    """Return the digests of the files of an output; of one that is a file, under no name."""
    if not place.exists():
        return {}
    if place.is_file():
        return {"": _digest(place)}
    return {path.relative_to(place).as_posix(): _digest(path) for path in files_of(place)}


def _digest(path: Path) -> str:

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(files: Mapping[str, str], path: str) -> str:
    return files[path][:12] if path in files else "not there"


def _row(workspace: Workspace, before: JobRecord, name: str, spec: Spec) -> dict[str, Any]:
    return {
        "name": name,
        "kind": before.kind,
        "status": states.QUEUED,
        "spec": to_json(spec.plain()),
        "run_id": spec.run_id,
        "submitted_at": time.time(),
        "place": place_of(workspace.home),
        "retries": before.retries,
        "priority": before.priority,
        "cpus": before.needs.cpus,
        "gpus": before.needs.gpus,
        "memory": before.needs.memory,
        "display_name": before.display_name,
        "experiment": before.experiment,
        "description": before.description,
        "tags": to_json(dict(spec.tags)),
        "properties": to_json(dict(before.properties)),
    }
