"""What was appended arrives exactly once, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from workspace.errors import Unavailable
from workspace.home import Workspace
from workspace.processes import Identity
from workspace.spool import Spool, segment_name
from workspace.tables import edges, events

DEAD = Identity(2**22 + 1, 1.0)  # above the highest number Linux gives


def _count(workspace: Workspace) -> int:
    with workspace.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(events)) or 0


def _segments(workspace: Workspace) -> list[Path]:
    return sorted(workspace.spool.folder.glob("*.jsonl"))


def test_an_event_arrives_once_however_often_it_is_ingested(any_workspace: Workspace) -> None:
    any_workspace.spool.append("request", {"status": 200})
    assert any_workspace.spool.ingest() == 1
    assert any_workspace.spool.ingest() == 0
    for mark in any_workspace.spool.folder.glob("*.read"):
        mark.unlink()
    assert any_workspace.spool.ingest() == 0
    assert _count(any_workspace) == 1


def test_the_same_event_id_is_one_event(any_workspace: Workspace) -> None:
    for _ in range(3):
        any_workspace.spool.append("request", {"status": 200}, event_id="same")
    assert any_workspace.spool.ingest() == 1


def test_a_segment_stays_while_its_owner_lives_and_goes_when_it_is_dead(workspace: Workspace) -> None:
    code = f"""
import sys
from pathlib import Path
from workspace.spool import Spool
Spool(Path({str(workspace.spool.folder)!r})).append("request", {{"status": 200}}, durable=True)
print("written", flush=True)
sys.stdin.readline()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"written\n"
    assert workspace.spool.ingest() == 1
    assert len(_segments(workspace)) == 1
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert workspace.spool.ingest() == 0
    assert list(workspace.spool.folder.iterdir()) == []


def test_a_segment_of_another_machine_is_read_but_kept(workspace: Workspace) -> None:
    workspace.spool.append("request", {})
    own = _segments(workspace)[0]
    other = own.with_name("7-12.00.another-host.jsonl")
    own.rename(other)
    assert workspace.spool.ingest() == 1
    assert other.exists()


def test_a_line_that_is_not_whole_yet_is_read_when_it_is(workspace: Workspace) -> None:
    workspace.spool.append("request", {"first": True})
    segment = _segments(workspace)[0]
    line = json.dumps({"event_id": "late", "kind": "request", "ts": 1.0, "payload": {}}).encode() + b"\n"
    with segment.open("ab") as file:
        file.write(line[:10])
    assert workspace.spool.ingest() == 1
    with segment.open("ab") as file:
        file.write(line[10:])
    assert workspace.spool.ingest() == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=8),
    cut=st.integers(min_value=0),
    noise=st.binary(max_size=30).filter(lambda raw: b"\n" not in raw),
)
def test_whole_lines_survive_a_cut_anywhere_and_noise_between_them(
    workspace: Workspace, texts: list[str], cut: int, noise: bytes
) -> None:
    with workspace.database.write(durable=False) as connection:
        connection.execute(delete(events))
    with tempfile.TemporaryDirectory() as name:
        writer = Spool(Path(name))
        for index, text in enumerate(texts):
            writer.append("request", {"text": text}, event_id=str(index))
        writer.close()
        own = next(Path(name).iterdir())
        raw = own.read_bytes()
        cut %= len(raw) + 1
        segment = Path(name) / segment_name(DEAD)
        segment.write_bytes(noise + b"\n" + raw[:cut])
        own.unlink()
        assert Spool(Path(name), workspace.light).ingest() == raw[:cut].count(b"\n")
        assert not segment.exists()


@pytest.mark.parametrize(
    "line",
    [
        b'{"event_id":"a","kind":"request","ts":NaN,"payload":{}}',
        b'{"event_id":"a","kind":"request","ts":1,"payload":[]}',
        b'{"kind":"request","ts":1,"payload":{}}',
        b'{"event_id":"a","kind":"request","ts":1' + b"0" * 400 + b',"payload":{}}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_never_was_an_event_stops_nobody(any_workspace: Workspace, line: bytes) -> None:
    any_workspace.spool.folder.mkdir(exist_ok=True)
    good = b'{"event_id":"good","kind":"request","ts":1,"payload":{"nul":"\\u0000","bad":"\\ud800"}}\n'
    (any_workspace.spool.folder / segment_name(DEAD)).write_bytes(line + b"\n" + good)
    assert any_workspace.spool.ingest() == 1


def test_two_ingesters_at_once_bring_in_every_event_once(any_workspace: Workspace) -> None:
    for index in range(3_000):
        any_workspace.spool.append("request", {"index": index})
    results: list[int] = []
    spools = [Spool(any_workspace.spool.folder, any_workspace.light) for _ in range(3)]
    threads = [threading.Thread(target=lambda spool=spool: results.append(spool.ingest())) for spool in spools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 3_000
    assert _count(any_workspace) == 3_000


def test_a_child_made_by_fork_writes_its_own_segment(workspace: Workspace) -> None:
    workspace.spool.append("request", {"who": "parent"})
    if (child := os.fork()) == 0:
        workspace.spool.append("request", {"who": "child"})
        os._exit(0)
    os.waitpid(child, 0)
    assert len(_segments(workspace)) == 2
    assert workspace.spool.ingest() == 2


def test_a_worker_without_a_database_tells_lineage_too(any_workspace: Workspace) -> None:
    run_id = "a" * 32
    said = {"inputs": [{"name": "data:questions:1"}], "outputs": [{"name": "model:tuned:1"}]}
    Spool(any_workspace.spool.folder).append("lineage", said, run_id=run_id)
    any_workspace.spool.ingest()
    with any_workspace.database.read() as connection:
        found = connection.execute(select(edges.c.source, edges.c.target).order_by(edges.c.source)).all()
    assert [tuple(row) for row in found] == [("data:questions:1", f"run:{run_id}"), (f"run:{run_id}", "model:tuned:1")]


def test_a_full_disk_is_said_and_the_next_line_starts_clean(workspace: Workspace) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    workspace.spool.folder.mkdir(exist_ok=True)
    own = workspace.spool.append("request", {})
    segment = _segments(workspace)[0]
    workspace.spool.close()
    segment.unlink()
    segment.symlink_to(full)
    with pytest.raises(Unavailable, match="cannot write"):
        workspace.spool.append("request", {})
    assert own


def test_no_acknowledged_line_is_lost_however_often_the_writer_is_killed(workspace: Workspace) -> None:
    code = f"""
import sys
from pathlib import Path
from workspace.spool import Spool
spool = Spool(Path({str(workspace.spool.folder)!r}))
while True:
    sys.stdout.write(spool.append("request", {{"status": 200}}) + "\\n")
    sys.stdout.flush()
"""
    told: set[str] = set()
    for round_ in range(4):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        told |= {writer.stdout.readline().strip() for _ in range(50 * (round_ + 1))}
        workspace.spool.ingest()
        writer.kill()
        rest = writer.communicate()[0]
        told |= {line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")}
    workspace.spool.ingest()
    with workspace.database.read() as connection:
        kept = set(connection.scalars(select(events.c.event_id)))
    assert told <= kept
    assert list(workspace.spool.folder.iterdir()) == []
