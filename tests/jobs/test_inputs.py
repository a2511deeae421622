"""Inputs as commands find them: read-only, copied, by their URI; and code as it was when it was submitted."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from jobs import inputs
from jobs.linux import show_read_only
from jobs.spec import BoundInput
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.errors import NotFound
from workspace.home import Workspace


def data(folder: Path) -> Path:
    (folder / "rows").mkdir()
    (folder / "rows" / "a.txt").write_text("a\n")
    return folder / "rows"


def said(workspace: Workspace, run: Submit, command: str, rest: str) -> str:
    job = run(command, rest)
    wait(workspace, job.name, seconds=LONG)
    return b"".join(stream(workspace, job.name)).decode()


ROWS = "inputs:\n  rows:\n    type: uri_folder\n    path: rows\n"
PR_SET_DUMPABLE = 4
WRITES = "echo b > ${{inputs.rows}}/a.txt || echo refused; rm ${{inputs.rows}}/a.txt || echo refused; touch ${{inputs.rows}}/c || echo refused"  # noqa: E501


@pytest.mark.parametrize("mode", ["", "    mode: ro_mount\n"])
def test_a_read_only_input_cannot_be_written(workspace: Workspace, run: Submit, tmp_path: Path, mode: str) -> None:
    place = data(tmp_path)
    text = said(workspace, run, f"cat ${{{{inputs.rows}}}}/a.txt; {WRITES}", ROWS + mode)
    assert text.count("refused") == 3
    assert text.startswith("a\n")
    assert [path.name for path in place.iterdir()] == ["a.txt"]
    asset = workspace.assets.get("data", "rows-rows")
    assert (workspace.assets.path(asset) / "a.txt").read_text() == "a\n"


def test_a_file_is_read_only_too_and_keeps_its_name(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("1\n")
    rest = "inputs:\n  one:\n    type: uri_file\n    path: one.csv\n"
    text = said(
        workspace, run, "basename ${{inputs.one}}; cat ${{inputs.one}}; echo 2 > ${{inputs.one}} || echo no", rest
    )
    assert text.startswith("one.csv\n1\n")
    assert text.endswith("no\n")


def test_a_downloaded_input_is_a_copy_that_may_be_changed(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    place = data(tmp_path)
    text = said(workspace, run, f"{WRITES}; ls ${{{{inputs.rows}}}}", f"{ROWS}    mode: download\n")
    assert text == "c\n"
    assert (place / "a.txt").read_text() == "a\n"


def test_a_direct_input_is_its_uri(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    rest = "inputs:\n  there:\n    type: uri_folder\n    path: https://example.test/rows\n    mode: direct\n"
    assert said(workspace, run, "echo ${{inputs.there}}", rest) == "https://example.test/rows\n"


def test_an_asset_is_read_by_its_version(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    workspace.assets.put("data", "words", b"one")
    workspace.assets.put("data", "words", b"two")
    old, new = (f"type: uri_file, path: 'azureml:words{version}'" for version in (":1", "@latest"))
    rest = f"inputs:\n  old: {{{old}}}\n  new: {{{new}}}\n"
    assert said(workspace, run, "cat ${{inputs.old}} ${{inputs.new}}", rest) == "onetwo"


def test_the_same_data_may_be_two_inputs(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    data(tmp_path)
    rest = ROWS + "  more:\n    type: uri_folder\n    path: rows\n"
    assert said(workspace, run, "cat ${{inputs.rows}}/a.txt ${{inputs.more}}/a.txt", rest) == "a\na\n"


def test_what_another_job_has_left_is_read_by_its_name(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    wait(workspace, run("echo w > ${{outputs.m}}/w", "name: first\noutputs:\n  m: {}\n").name, seconds=LONG)
    rest = "inputs:\n  m:\n    type: uri_file\n    path: azureml://jobs/first/outputs/m/paths/w\n"
    assert said(workspace, run, "cat ${{inputs.m}}", rest) == "w\n"
    with pytest.raises(NotFound, match="has left no output"):
        run("true", rest.replace("paths/w", "paths/gone"))


def test_data_is_read_as_it_was_when_the_job_was_submitted(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    place = data(tmp_path)
    rest = f"{ROWS}  flag:\n    type: uri_file\n    path: {tmp_path}/flag\n    mode: direct\n"
    (tmp_path / "flag").touch()
    job = run("while test -e ${{inputs.flag}}; do sleep 0.05; done; cat ${{inputs.rows}}/a.txt", rest)
    (place / "a.txt").write_text("changed\n")
    (tmp_path / "flag").unlink()
    assert b"".join(stream(workspace, job.name)) == b"a\n"


def test_large_data_is_read_where_it_is(
    workspace: Workspace, run: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LARGEST_KEPT", 1)
    data(tmp_path)
    text = said(workspace, run, f"cat ${{{{inputs.rows}}}}/a.txt; {WRITES}", ROWS)
    assert text.startswith("a\n")
    assert text.count("refused") == 3
    assert workspace.assets.list("data") == []


def test_without_the_kernels_help_inputs_are_copies_whose_bytes_are_nobody_elses(
    workspace: Workspace, tmp_path: Path
) -> None:
    asset = workspace.assets.put("data", "rows", data(tmp_path))
    bound = {"rows": BoundInput(type="uri_folder", path="rows", digest=asset.digest)}
    checkouts = workspace.home / "checkouts"
    laid = inputs.lay_out(bound, tmp_path / "in", blobs=workspace.blobs, checkouts=checkouts, protect=False)
    place = Path(laid.values["rows"])
    assert (laid.read_only, laid.unprotected) == ({}, ())
    assert (place / "a.txt").stat().st_mode & 0o222 == 0
    assert place.stat().st_mode & 0o222 == 0
    assert (place / "a.txt").stat().st_nlink == 1


def test_who_is_not_root_is_shown_files_read_only_as_well(tmp_path: Path) -> None:
    """In a process of its own, since neither the account nor what is shown can be taken back."""
    place, shown = data(tmp_path), tmp_path / "shown"
    shown.mkdir()
    ours = [each for each in tmp_path.parents if each.name.startswith(("pytest-", "popen-"))]
    for path in (*ours, tmp_path, place, shown):
        path.chmod(0o777)
    (place / "a.txt").chmod(0o666)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(10)
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # as in a process that this account has started
            show_read_only({shown: place})
            assert (shown / "a.txt").read_text() == "a\n"
            try:
                (shown / "a.txt").write_text("b")
            except OSError:
                (place / "a.txt").write_text("through its own place")
                status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
