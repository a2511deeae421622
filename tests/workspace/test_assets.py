from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from workspace.assets import KINDS, Asset
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace

FORK = multiprocessing.get_context("fork")


def put(workspace: Workspace, text: str, name: str = "questions") -> Asset:
    return workspace.assets.put("data", name, text.encode())


def test_an_asset_read_back_equals_the_one_that_was_put(any_workspace: Workspace) -> None:
    properties = {"license": "apache-2.0", "rows": 40, "columns": ["question", "größe"]}
    asset = any_workspace.assets.put("data", "questions", b"hello", properties=properties)
    assert any_workspace.assets.get("data", "questions") == asset
    assert asset.ref == "data:questions:1"
    assert asset.properties == properties
    assert any_workspace.assets.path(asset).read_bytes() == b"hello"


def test_versions_count_from_one_and_the_same_content_is_the_same_version(any_workspace: Workspace) -> None:
    assert [put(any_workspace, text).version for text in ("a", "a", "b", "b", "a")] == ["1", "1", "2", "2", "3"]


def test_other_properties_make_another_version(any_workspace: Workspace) -> None:
    put(any_workspace, "a")
    assert any_workspace.assets.put("data", "questions", b"a", properties={"license": "mit"}).version == "2"


def test_a_version_may_be_named_and_never_changes(any_workspace: Workspace) -> None:
    assets = any_workspace.assets
    assert assets.put("data", "questions", b"a", version="2024-05").version == "2024-05"
    assert assets.put("data", "questions", b"a", version="2024-05").version == "2024-05"
    with pytest.raises(Conflict, match="exists with other content"):
        assets.put("data", "questions", b"b", version="2024-05")
    assert put(any_workspace, "c").version == "1"


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        ("questions", "3"),
        ("questions:2", "2"),
        ("questions@latest", "3"),
        ("questions@champion", "1"),
        ("azureml:questions:2", "2"),
        ("azureml:questions@champion", "1"),
        ("data:questions:2", "2"),
        ("data:questions@champion", "1"),
    ],
)
def test_every_way_to_write_a_reference_finds_its_version(any_workspace: Workspace, ref: str, version: str) -> None:
    first, *_ = [put(any_workspace, text) for text in "abc"]
    any_workspace.assets.label(first, "champion")
    assert any_workspace.assets.get("data", ref).version == version


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("qestions", "no data 'qestions'", "did you mean 'questions'?"),
        ("questions:9", "has no version '9'", "known: 2, 1"),
        ("questions@champ", "has no label 'champ'", "known: latest, champion"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(any_workspace: Workspace, ref: str, message: str, hint: str) -> None:
    first, _ = (put(any_workspace, text) for text in "ab")
    any_workspace.assets.label(first, "champion")
    with pytest.raises(NotFound, match=message) as missing:
        any_workspace.assets.get("data", ref)
    assert missing.value.hint == hint


@pytest.mark.parametrize("ref", ["", ":1", "a:", "a@", "a:1@b", "a:b:c:d", "model:questions:1"])
def test_what_is_no_reference_is_refused(workspace: Workspace, ref: str) -> None:
    with pytest.raises(Invalid):
        workspace.assets.get("data", ref)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a:b", "a@b", "é", "a" * 256, ".hidden"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(Invalid, match="cannot name an asset"):
        workspace.assets.put("data", name, b"x")


def test_an_unknown_kind_gets_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(Invalid) as refused:
        workspace.assets.put("modle", "m", b"x")
    assert refused.value.hint == "did you mean 'model'?"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_kept_and_listed(workspace: Workspace, kind: str) -> None:
    asset = workspace.assets.put(kind, "thing", b"x")
    assert workspace.assets.list(kind) == [asset]


def test_properties_that_are_no_json_are_refused(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="cannot be kept as JSON"):
        workspace.assets.put("data", "d", b"x", properties={"a": object()})


def test_a_label_moves_from_version_to_version(any_workspace: Workspace) -> None:
    first, second = (put(any_workspace, text) for text in "ab")
    any_workspace.assets.label(first, "champion")
    assert any_workspace.assets.label(second, "champion").labels == ("champion",)
    assert any_workspace.assets.get("data", "questions:1").labels == ()


def test_a_label_can_be_taken_away(any_workspace: Workspace) -> None:
    asset = any_workspace.assets.label(put(any_workspace, "a"), "champion")
    assert any_workspace.assets.unlabel(asset, "champion").labels == ()
    with pytest.raises(NotFound, match="has no label"):
        any_workspace.assets.unlabel(asset, "champion")


@pytest.mark.parametrize("label", ["latest", "", "a b", "x" * 65])
def test_a_label_that_cannot_be_given_is_refused(workspace: Workspace, label: str) -> None:
    with pytest.raises(Invalid, match="cannot be given"):
        workspace.assets.label(put(workspace, "a"), label)


def test_an_archived_version_is_hidden_but_answers_when_named(any_workspace: Workspace) -> None:
    first, second = (put(any_workspace, text) for text in "ab")
    assert any_workspace.assets.archive(second).archived
    assert any_workspace.assets.get("data", "questions") == first
    assert any_workspace.assets.get("data", "questions:2").archived
    assert any_workspace.assets.list("data") == [first]
    assert any_workspace.assets.restore(second) == second
    assert any_workspace.assets.get("data", "questions") == second


def test_when_every_version_is_archived_the_hint_names_one(any_workspace: Workspace) -> None:
    any_workspace.assets.archive(put(any_workspace, "a"))
    with pytest.raises(NotFound, match="every version") as missing:
        any_workspace.assets.get("data", "questions")
    assert "questions:1" in str(missing.value.hint)


def test_a_list_shows_the_newest_of_each_or_every_version(any_workspace: Workspace) -> None:
    for name, text in [("b", "1"), ("a", "1"), ("b", "2")]:
        put(any_workspace, text, name)
    assert [asset.ref for asset in any_workspace.assets.list()] == ["data:a:1", "data:b:2"]
    assert [asset.ref for asset in any_workspace.assets.list("data", every_version=True)] == [
        "data:a:1",
        "data:b:2",
        "data:b:1",
    ]


def test_a_file_keeps_its_name_so_that_readers_know_its_format(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    asset = workspace.assets.put("data", "questions", tmp_path / "rows.jsonl")
    assert workspace.assets.path(asset).name == "rows.jsonl"


def test_a_folder_that_may_be_consumed_is_gone_afterwards_and_whole_in_the_workspace(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"w" * 1000)
    inode = (tmp_path / "model" / "weights").stat().st_ino
    asset = workspace.assets.put("model", "tiny", tmp_path / "model", move=True)
    assert not (tmp_path / "model").exists()
    assert (workspace.assets.path(asset) / "weights").stat().st_ino == inode


def test_eight_processes_put_at_once_and_no_version_is_lost_or_double(any_workspace: Workspace) -> None:
    writers = [FORK.Process(target=_put_many, args=(any_workspace, number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    versions = [int(asset.version) for asset in any_workspace.assets.list("data", every_version=True)]
    assert versions == list(range(80, 0, -1))
    assert any_workspace.audit.verify() != "0" * 64


def _put_many(workspace: Workspace, number: int) -> None:
    for row in range(10):
        workspace.assets.label(put(workspace, f"{number}-{row}"), "champion")


def test_a_process_killed_while_it_puts_leaves_no_half_asset(workspace: Workspace, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = FORK.Process(target=workspace.assets.put, args=("data", "questions", pipe))
    writer.start()
    with pipe.open("wb") as feed:
        feed.write(b"x" * 3_000_000)
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(20)
    again = Workspace.open(settings=workspace.settings)
    assert again.assets.list() == []
    assert [path for path in (again.home / "blobs").rglob("*") if path.is_file()] == []


def test_labels_and_archiving_are_in_the_audit_log(any_workspace: Workspace) -> None:
    asset = any_workspace.assets.label(put(any_workspace, "a"), "champion")
    any_workspace.assets.archive(asset)
    assert [(record.action, record.subject) for record in any_workspace.audit.list()] == [
        ("asset.archive", "data:questions:1"),
        ("asset.label", "data:questions@champion"),
    ]
