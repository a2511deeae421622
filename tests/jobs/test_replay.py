"""A job run again is the same job, and what is different is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs import records
from jobs.replay import compare_outputs, replay
from jobs.submit import stream, submit, wait
from tests.jobs.conftest import LONG, job_of
from workspace.errors import Conflict, NotFound
from workspace.home import Workspace

REST = (
    "name: first\ncode: src\nenvironment_variables:\n  WORD: once\ninputs:\n  rows:\n    type: uri_file\n"
    "    path: rows.txt\n  rate: 0.5\noutputs:\n  out:\n    name: result\n    version: 1\n"
)
COMMAND = "bash main.sh ${{inputs.rows}} ${{inputs.rate}} > ${{outputs.out}}/text; cat ${{outputs.out}}/text"


def first(workspace: Workspace, folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "main.sh").write_text("cat $1; echo $2 $WORD\n")
    (folder / "rows.txt").write_text("row\n")
    assert wait(workspace, submit(workspace, job_of(folder, COMMAND, REST)).name, seconds=LONG).status == "Completed"


def test_code_data_and_variables_are_those_of_then(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(workspace, tmp_path)
    (tmp_path / "src" / "main.sh").write_text("echo changed\n")
    (tmp_path / "rows.txt").write_text("changed\n")
    monkeypatch.setenv("PATH", "/nowhere")
    again, found = replay(workspace, "first")
    assert found == ()
    assert wait(workspace, again.name, seconds=LONG).status == "Completed"
    assert b"".join(stream(workspace, again.name)) == b"row\n0.5 once\n"
    before, after = records.get(workspace, "first"), records.get(workspace, again.name)
    assert compare_outputs(workspace, before, after) == ()
    assert after.tags["studiolo.replay_of"] == "first"
    assert workspace.assets.get("data", "result@latest").version == "1"  # the same content is the same version


def test_outputs_that_differ_are_named_file_by_file(workspace: Workspace, tmp_path: Path) -> None:
    command = (
        "echo $STUDIOLO_JOB > ${{outputs.o}}/name; echo same > ${{outputs.o}}/same; touch ${{outputs.o}}/$STUDIOLO_JOB"
    )
    wait(workspace, submit(workspace, job_of(tmp_path, command, "name: a\noutputs:\n  o: {}\n")).name, seconds=LONG)
    again, _ = replay(workspace, "a")
    after = wait(workspace, again.name, seconds=LONG)
    found = {each.what: each for each in compare_outputs(workspace, records.get(workspace, "a"), after)}
    assert set(found) == {"output o/name", "output o/a", f"output o/{again.name}"}
    assert found["output o/a"].now == "not there"


def test_another_exit_code_is_a_difference(workspace: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    wait(workspace, submit(workspace, job_of(tmp_path, f"test -e {flag}", "name: a\n")).name, seconds=LONG)
    flag.unlink()
    after = wait(workspace, replay(workspace, "a")[0].name, seconds=LONG)
    found = compare_outputs(workspace, records.get(workspace, "a"), after)
    assert [str(each) for each in found] == ["status: Completed with exit code 0 → Failed with exit code 1"]


def test_what_the_machine_and_its_packages_were_is_compared(workspace: Workspace, tmp_path: Path) -> None:
    wait(workspace, submit(workspace, job_of(tmp_path, "true", "name: a\n")).name, seconds=LONG)
    spec = dict(records.get(workspace, "a").spec)
    spec["made_with"] = {**spec["made_with"], "python": "3.9.1"}
    spec["made_with"]["packages"] = {**spec["made_with"]["packages"], "torch": "1.0", "gone": "7"}
    spec["made_with"]["hardware"] = {**spec["made_with"]["hardware"], "cores": 512}
    from workspace.light_database import to_json

    with workspace.light.write() as statements:
        statements.change("UPDATE jobs SET spec = :spec", spec=to_json(spec))
    again, found = replay(workspace, "a")
    told = {each.what: (each.before, each.now) for each in found}
    assert told["Python"][0] == "3.9.1"
    assert told["torch"][0] == "1.0"
    assert told["gone"] == ("7", "gone")
    assert told["cores"] == ("512", str(len(os.sched_getaffinity(0))))
    wait(workspace, again.name, seconds=LONG)


def test_content_that_is_damaged_or_gone_is_not_run(workspace: Workspace, tmp_path: Path) -> None:
    first(workspace, tmp_path)
    digest = records.get(workspace, "first").spec["inputs"]["rows"]["digest"]
    path = workspace.blobs.path(digest)
    path.chmod(0o600)
    path.write_text("other")
    with pytest.raises(Conflict, match="damaged"):
        replay(workspace, "first")
    path.unlink()
    with pytest.raises(NotFound, match="no blob"):
        replay(workspace, "first")


def test_data_read_by_its_address_may_have_changed_and_that_is_said(workspace: Workspace, tmp_path: Path) -> None:
    rest = "name: a\ninputs:\n  there:\n    type: uri_file\n    path: https://example.test/x\n    mode: direct\n"
    wait(workspace, submit(workspace, job_of(tmp_path, "echo ${{inputs.there}}", rest)).name, seconds=LONG)
    again, found = replay(workspace, "a")
    assert ["nobody knows" in each.now for each in found] == [True]
    wait(workspace, again.name, seconds=LONG)
