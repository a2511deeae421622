"""Batches of requests: their rows, the jobs that do the work, and what whoever looks next finds: progress, results.

A batch whose job was killed is begun again by whoever looks at it, or by the gateway, which looks at all of them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import reconcile, records, submit
from jobs.files.command import CommandJob
from jobs.files.reading import Origin
from jobs.needs import Needs
from jobs.records import JobRecord
from jobs.submit import Wishes
from serving.api import batch_journal, files_store
from serving.api.batch_job import BatchPlan
from workspace.errors import Conflict, NotFound, StudioloError
from workspace.home import Workspace
from workspace.tables import batches, files

ENDED = ("completed", "failed", "cancelled", "expired")
WINDOW = 86_400.0  # seconds
ATTEMPTS = 5  # jobs that may die before the batch is given up
LOOK = 15.0  # seconds between two looks of the gateway at all of them
STALE = 10.0  # seconds after which a job that nobody has claimed is started again
_MOMENTS = (
    "created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
    "cancelling_at", "cancelled_at",
)  # fmt: skip

log = logging.getLogger(__name__)


def create(
    workspace: Workspace,
    token: str,
    *,
    file_id: str,
    endpoint: str,
    metadata: Mapping[str, str],
    base_url: str,
    window: float = WINDOW,
) -> dict[str, Any]:
    """Begin a batch and return it. Its row is written first: from then on it is not lost."""
    source = files_store.path(workspace, files_store.get(workspace, token, file_id))
    workspace.tokens.local()  # the job asks with it
    now = time.time()
    name = f"batch_{secrets.token_hex(16)}"
    folder = _folder(workspace, name)
    folder.mkdir(parents=True, mode=0o700)
    plan = BatchPlan(
        id=name,
        endpoint=endpoint,
        token_id=token,
        input=str(source),
        expires_at=now + window,
        base_url=base_url,
        home=str(workspace.home),
    )
    plan.write(folder)
    row = {
        "id": name,
        "token_id": token,
        "path": endpoint,
        "input_file": file_id,
        "status": "validating",
        "job": f"{name}-1",
        "counts": {"total": 0, "completed": 0, "failed": 0},
        "errors": [],
        "metadata": dict(metadata),
        "times": {"created_at": now, "expires_at": now + window},
        "created_at": now,
    }
    with workspace.database.write() as connection:
        connection.execute(insert(batches).values(**row))
    _start(workspace, name, f"{name}-1")
    return get(workspace, token, name)


def get(workspace: Workspace, token: str, identifier: str) -> dict[str, Any]:
    """Return a batch of this token as it is now; of anybody else's it is not told that it exists."""
    return _described(_looked(workspace, _row(workspace, token, identifier)))


def listed(workspace: Workspace, token: str) -> Sequence[dict[str, Any]]:
    """Return the batches of a token, newest first."""
    query = select(batches).filter_by(token_id=token).order_by(batches.c.created_at.desc(), batches.c.id)
    with workspace.database.read() as connection:
        rows = connection.execute(query).all()
    return [_described(_looked(workspace, row)) for row in rows]


def cancel(workspace: Workspace, token: str, identifier: str) -> dict[str, Any]:
    """Ask a batch to end; what was answered so far is kept. Conflict where it has ended already."""
    row = _looked(workspace, _row(workspace, token, identifier))
    if row.status in ENDED:
        raise Conflict(f"the batch has ended: it is {row.status}")
    if row.status != "cancelling":
        row = _change(workspace, row, status="cancelling", times={**row.times, "cancelling_at": time.time()})
    if row.status == "cancelling":
        submit.cancel(workspace, str(row.job))
    return get(workspace, token, identifier)


def tend(workspace: Workspace) -> int:
    """Look at every batch that has not ended: begin again what was killed, keep what is done. Return how many."""
    with workspace.database.read() as connection:
        rows = connection.execute(select(batches).where(batches.c.status.not_in(ENDED))).all()
    for row in rows:
        _looked(workspace, row)
    return len(rows)


async def tend_on(workspace: Workspace) -> None:
    """Look again and again, for as long as the gateway lives."""
    while True:
        try:
            await asyncio.to_thread(tend, workspace)
        except StudioloError as error:
            log.warning("batches are looked at later: %s", error)
        await asyncio.sleep(LOOK)


def _looked(workspace: Workspace, row: Row[Any]) -> Row[Any]:
    """Bring the row to what its job has come to."""
    if row.status in ENDED:
        return row
    folder = _folder(workspace, row.id)
    job = _job(workspace, row)
    noted = batch_journal.noted(folder)
    if not job.ended:
        return _progressed(workspace, row, noted)
    if row.status == "cancelling" or job.status == "Canceled":
        return _settled(workspace, row, "cancelled", noted)
    if job.status == "Completed":
        ending = "failed" if noted["state"] == "failed" else "expired" if noted.get("expired") else "completed"
        return _settled(workspace, row, ending, noted)
    attempt = int(job.name.rpartition("-")[2])
    if attempt >= ATTEMPTS:
        wrong = {"code": "server_error", "message": job.error or "its process failed", "line": None, "param": None}
        return _settled(workspace, row, "failed", {**noted, "errors": [wrong]})
    again = f"{row.id}-{attempt + 1}"
    changed = _change(workspace, row, job=again)
    if changed.job == again:
        _start(workspace, row.id, again)
    return changed


def _job(workspace: Workspace, row: Row[Any]) -> JobRecord:
    try:
        job = records.get(workspace, row.job)
    except NotFound:  # whoever made the row died before it could submit
        _start(workspace, row.id, row.job)
        return records.get(workspace, row.job)
    if job.status == "Queued" and time.time() - job.submitted_at > STALE:
        reconcile.look(workspace)
    return job


def _start(workspace: Workspace, identifier: str, name: str) -> None:
    command = shlex.join([sys.executable, "-P", "-m", "serving.api.batch_job", str(_folder(workspace, identifier))])
    job = CommandJob(command=command, origin=Origin.made_in(workspace.home), name=name, tags={"batch": identifier})
    with suppress(Conflict):  # another who looked was faster
        submit.submit(workspace, job, Wishes(needs=Needs(cpus=0)))  # it waits for the gateway, and computes nothing


def _progressed(workspace: Workspace, row: Row[Any], noted: Mapping[str, Any]) -> Row[Any]:
    values: dict[str, Any] = {}
    state = noted["state"]
    if row.status != "cancelling" and state in ("in_progress", "finalizing") and state != row.status:
        moment = f"{state}_at"
        values = {"status": state, "times": {**row.times, moment: row.times.get(moment) or noted["at"]}}
    if "counts" in noted and noted["counts"] != row.counts:
        values["counts"] = noted["counts"]
    return _change(workspace, row, **values) if values else row


def _settled(workspace: Workspace, row: Row[Any], ending: str, noted: Mapping[str, Any]) -> Row[Any]:
    """Keep what was answered as files of the token, and close the batch; of several who do so, one succeeds."""
    now = time.time()
    times = {**row.times, f"{ending}_at": now}
    if noted["state"] in ("in_progress", "finalizing"):
        times.setdefault("in_progress_at", row.times.get("in_progress_at") or noted["at"])
        if ending in ("completed", "expired"):
            times.setdefault("finalizing_at", noted["at"])
    with TemporaryDirectory(dir=workspace.home, prefix="batch-") as temporary:
        outputs, errors = Path(temporary) / "output.jsonl", Path(temporary) / "error.jsonl"
        batch_journal.join(_folder(workspace, row.id), outputs, errors)
        made = {
            column: files_store.row_of(
                workspace, row.token_id, path, filename=f"{row.id}_{path.name}", purpose=files_store.BATCH_OUTPUT
            )
            for column, path in (("output_file", outputs), ("error_file", errors))
            if path.exists()
        }
    values = {
        **{column: file["id"] for column, file in made.items()},
        "status": ending,
        "times": times,
        "counts": noted.get("counts") or row.counts,
        "errors": noted.get("errors") or [],
    }
    settled = _change(workspace, row, more=list(made.values()), **values)
    if settled.status in ENDED:
        shutil.rmtree(_folder(workspace, row.id), ignore_errors=True)
    return settled


def _change(workspace: Workspace, row: Row[Any], *, more: Sequence[Mapping[str, Any]] = (), **values: Any) -> Row[Any]:
    """Change the row if it is as it was seen, adding files with it; return it as it is now."""
    statement = update(batches).filter_by(id=row.id, status=row.status, job=row.job).values(**values)
    with workspace.database.write() as connection:
        if connection.execute(statement).rowcount and more:
            connection.execute(insert(files), [dict(each) for each in more])
        return connection.execute(select(batches).filter_by(id=row.id)).one()


def _row(workspace: Workspace, token: str, identifier: str) -> Row[Any]:
    with workspace.database.read() as connection:
        row = connection.execute(select(batches).filter_by(id=identifier, token_id=token)).first()
    if row is None:
        raise NotFound(f"no batch {identifier!r}", hint="it was never made, or is not this token's")
    return row


def _described(row: Row[Any]) -> dict[str, Any]:
    """Return a batch as OpenAI does."""
    moments = {name: int(row.times[name]) if row.times.get(name) else None for name in _MOMENTS}
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.path,
        "errors": {"object": "list", "data": list(row.errors)} if row.errors else None,
        "input_file_id": row.input_file,
        "completion_window": "24h",
        "status": row.status,
        "output_file_id": row.output_file,
        "error_file_id": row.error_file,
        **moments,
        "request_counts": dict(row.counts),
        "metadata": dict(row.metadata) or None,
    }


def _folder(workspace: Workspace, identifier: str) -> Path:
    return workspace.home / "batches" / identifier
