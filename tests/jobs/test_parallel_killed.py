"""A parallel step that is killed midway goes on from its finished mini-batches: in real processes, by real kills."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobs import records
from jobs.folders import attempt_folder, outputs_of
from jobs.parallel.finished import Finished, cut_of
from jobs.parallel.schedule import cut
from jobs.submit import Wishes, wait
from tests.jobs.conftest import LONG, until
from tests.jobs.sweeping import plain_python as plain_python
from tests.jobs.test_parallel_step import begun, files, rows, said
from workspace.home import Workspace

# It does a and b; the first who is given c waits to be killed. What it writes beside its rows must be there in the end.
STOPS = """
import os, time
def run(mini_batch):
    text = open(mini_batch[0]).read()
    with open({tries!r}, "a") as file:
        file.write(text)
    with open(os.path.join(os.environ["AZURE_ML_OUTPUT_more"], text), "w") as file:
        file.write(text * 3)
    if text == "c" and open({tries!r}).read().count("c") == 1:
        time.sleep(300)
    return [text.upper()]
"""


def driver_of(workspace: Workspace, number: int = 1) -> psutil.Process:
    path = attempt_folder(workspace.home, "score", number).running
    until(path.exists)
    return psutil.Process(json.loads(path.read_text())["pid"])


@pytest.mark.parametrize("who", ["driver", "shim"])
def test_what_was_finished_before_a_kill_is_not_done_again(workspace: Workspace, tmp_path: Path, who: str) -> None:
    tries = tmp_path / "tries"
    outputs = {"scores": {"type": "uri_file"}, "more": {"type": "uri_folder"}}
    data = files(tmp_path, *"abcd")
    job = begun(workspace, tmp_path, STOPS.format(tries=str(tries)), data, outputs=outputs,
                max_concurrency_per_instance=1, retry_settings={"timeout": 300}, wishes=Wishes(retries=1))  # fmt: skip
    until(lambda: tries.exists() and tries.read_text() == "abc")
    if who == "driver":
        driver_of(workspace).kill()
    else:
        shim = records.get(workspace, job.name).shim
        assert shim
        psutil.Process(shim.pid).kill()
    assert rows(workspace) == list("ABCD")
    assert tries.read_text() == "abccd"
    assert records.get(workspace, job.name).attempt == 2
    told = said(workspace)
    assert "4 items in 4 mini-batches, 1 workers, 2 of them were finished before" in told
    assert "done: 4 mini-batches, 4 rows, 2 mini-batches taken over from the attempt before" in told
    more = outputs_of(workspace.home, "score") / "more"
    assert {path.name: path.read_text() for path in more.iterdir()} == {name: name * 3 for name in "abcd"}


def test_items_that_failed_before_a_kill_still_count(workspace: Workspace, tmp_path: Path) -> None:
    script = f"""
import os
def run(mini_batch):
    text = open(mini_batch[0]).read()
    first = not os.path.exists({str(tmp_path / "killed")!r})
    if text == "b" and first:
        open({str(tmp_path / "killed")!r}, "w").close()
        os.kill(os.getppid(), 9)
    return [] if text == "a" else [text]
"""
    begun(workspace, tmp_path, script, files(tmp_path, *"abc"), error_threshold=0, max_concurrency_per_instance=1,
          wishes=Wishes(retries=1))  # fmt: skip
    assert wait(workspace, "score", seconds=LONG).status == "Failed"
    assert "1 items have failed, and error_threshold is 0" in said(workspace)


def test_a_torn_record_counts_for_nothing_and_no_row_comes_twice(tmp_path: Path) -> None:
    first = Finished(str(tmp_path), "as it was")
    first.add(1, 1, "b\n")
    first.add(0, 2, "a\nA\udcff\n")
    with (tmp_path / "000001.jsonl").open("ab") as file:
        file.write(b'{"number": 2, "rows": 1, "te')
    second = Finished(str(tmp_path), "as it was")
    assert second.rows == {1: 1, 0: 2}
    second.add(2, 1, "c\n")
    second.add(1, 1, "b\n")
    third = Finished(str(tmp_path), "as it was")
    third.join(str(tmp_path / "rows"))
    assert (tmp_path / "rows").read_bytes() == b"a\nA\xff\nb\nc\n"
    assert third.count == 4


def test_a_record_that_lost_power_has_made_unreadable_stops_no_later_attempt(tmp_path: Path) -> None:
    first = Finished(str(tmp_path), "as it was")
    first.add(0, 1, "a\n")
    with (tmp_path / "000001.jsonl").open("ab") as file:
        file.write(b"\0" * 40 + b"\n")  # the length of a file may be on the disk before what it holds
    first.add(1, 1, "b\n")
    assert Finished(str(tmp_path), "as it was").rows == {0: 1}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_what_took_long_has_reached_the_disk_before_anybody_goes_on_and_what_did_not_soon(tmp_path: Path) -> None:
    program = (
        "import time\nfrom jobs.parallel.finished import Finished\n"
        f"found = Finished({str(tmp_path / 'logs')!r}, 'cut')\n"
        "for number in range(4):\n    found.add(number, 1, 'text\\n')\n    time.sleep(0.6 if number else 0)"
    )
    line = ["strace", "-f", "-e", "trace=write,fdatasync", "-o", str(tmp_path / "calls"), sys.executable, "-c", program]
    subprocess.run(line, check=True)
    calls = [each for each in (tmp_path / "calls").read_text().splitlines() if "number" in each or "fdatasync(" in each]
    assert ["sync" if "fdatasync(" in each else "write" for each in calls] == [
        "sync",
        "write",
        "write",
        *["write", "sync"] * 2,
    ]


def test_nothing_is_taken_over_where_the_mini_batches_are_others(tmp_path: Path) -> None:
    Finished(str(tmp_path), "as it was").add(0, 1, "a\n")
    assert Finished(str(tmp_path), "something else").rows == {}


def test_files_that_lie_elsewhere_are_the_same_and_longer_ones_are_others(tmp_path: Path) -> None:
    def told(folder: str, text: str) -> str:
        path = tmp_path / folder / "a.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return cut_of(cut([str(path)], 1), str(path.parent))

    assert told("first", "a") == told("second", "a") != told("second", "ab")
