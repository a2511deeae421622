from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace.blobs import Blob, Blobs
from workspace.errors import Conflict, Invalid, NotFound, Unavailable

FORK = multiprocessing.get_context("fork")
HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "sub").mkdir(parents=True)
    (made / "weights.bin").write_bytes(b"w" * 100)
    (made / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (made / "sub" / "run.sh").chmod(0o755)
    return made


def stored(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_the_same_bytes_are_stored_once_whether_given_as_bytes_or_as_a_file(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert blobs.add(b"hello") == blobs.add(tmp_path / "a.txt") == Blob(HELLO, 5)
    assert blobs.read(HELLO) == b"hello"
    assert len(stored(tmp_path)) == 1


def test_a_blob_can_be_read_by_its_owner_only_and_written_by_nobody(blobs: Blobs) -> None:
    assert stat.S_IMODE(blobs.path(blobs.add(b"hello").digest).stat().st_mode) == 0o400


def test_a_folder_comes_back_with_its_names_and_executable_files(blobs: Blobs, folder: Path, tmp_path: Path) -> None:
    blob = blobs.add(folder)
    copy = blobs.materialise(blob, tmp_path / "copy")
    assert {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()} == {
        "weights.bin": b"w" * 100,
        "sub/run.sh": b"#!/bin/sh\n",
    }
    assert os.access(copy / "sub" / "run.sh", os.X_OK)
    assert blob.size == 110


def test_a_folder_has_one_digest_wherever_it_lies_and_whatever_its_caches_hold(
    blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    before = blobs.add(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert blobs.add(folder.rename(tmp_path / "moved")) == before


def test_a_renamed_file_makes_another_folder(blobs: Blobs, folder: Path) -> None:
    before = blobs.add(folder)
    (folder / "weights.bin").rename(folder / "other.bin")
    assert blobs.add(folder) != before


def test_what_is_materialised_shares_the_bytes_on_disk(blobs: Blobs, folder: Path, tmp_path: Path) -> None:
    blobs.add(folder)
    copy = blobs.materialise(blobs.add(folder), tmp_path / "copy")
    digest = next(entry.digest for entry in blobs.entries(blobs.add(folder).digest) if entry.path == "weights.bin")
    assert (copy / "weights.bin").samefile(blobs.path(digest))


def test_a_source_that_may_be_shared_is_linked_and_not_copied(blobs: Blobs, folder: Path) -> None:
    blob = blobs.add(folder, share=True)
    assert (folder / "weights.bin").samefile(blobs.path(blobs.entries(blob.digest)[1].digest))


def test_a_source_that_has_other_names_is_copied_even_if_it_may_be_shared(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    blobs.add(tmp_path / "a", share=True)
    (tmp_path / "b").write_text("other")
    assert blobs.read(HELLO) == b"hello"


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc"])
def test_a_link_out_of_a_folder_is_refused(blobs: Blobs, folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(Invalid, match="link"):
        blobs.add(folder)


def test_a_pipe_in_a_folder_is_refused_instead_of_waited_for(blobs: Blobs, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match="neither a file nor a folder"):
        blobs.add(folder)


def test_a_damaged_byte_is_found(blobs: Blobs, folder: Path) -> None:
    blob = blobs.add(folder)
    blobs.verify(blob)
    path = blobs.path(blobs.entries(blob.digest)[1].digest)
    path.chmod(0o600)
    path.write_bytes(b"x" * 100)
    with pytest.raises(Conflict, match="damaged"):
        blobs.verify(blob)


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "md5:abc", "", HELLO.upper()])
def test_what_is_no_digest_never_becomes_a_path(blobs: Blobs, digest: str) -> None:
    with pytest.raises(Invalid, match="is no digest"):
        blobs.path(digest)


def test_a_blob_that_is_not_there_is_said_so(blobs: Blobs) -> None:
    with pytest.raises(NotFound, match=HELLO):
        blobs.read(HELLO)


def test_a_missing_source_is_said_so(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        blobs.add(tmp_path / "nothing")


def test_a_process_killed_while_it_stores_leaves_no_blob(blobs: Blobs, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = FORK.Process(target=blobs.add, args=(pipe,))
    writer.start()
    with pipe.open("wb") as feed:
        feed.write(b"x" * 3_000_000)  # more than a pipe holds: the writer is in the middle
        feed.flush()
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(20)
    assert [path.parent.name for path in stored(tmp_path)] == ["incoming"]
    assert blobs.clean() == 1
    assert stored(tmp_path) == []


def test_what_a_living_process_is_storing_is_not_cleaned_away(blobs: Blobs, tmp_path: Path) -> None:
    incoming = tmp_path / "blobs" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"{os.getpid()}-x").touch()
    assert blobs.clean() == 0


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no file grow over a megabyte, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_named_and_leaves_nothing_behind(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no room left") as full:
        blobs.add(b"x" * 2_000_000)
    assert "nothing kept is lost" in str(full.value.hint)
    assert stored(tmp_path) == []


def test_eight_processes_that_store_the_same_bytes_do_not_disturb_each_other(blobs: Blobs, folder: Path) -> None:
    writers = [FORK.Process(target=blobs.add, args=(folder,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0] * 8
    blobs.verify(blobs.add(folder))
