"""Logs: byte for byte over rotation, lines cut, a disk that is full."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.logs import KEPT, LogWriter, follow, part


def everything(folder: Path, *, start: int = 0) -> bytes:
    return b"".join(follow(folder, lambda: True, start=start))


def test_who_takes_a_log_over_goes_on_where_it_was(tmp_path: Path) -> None:
    """In its newest part, with the rest of the room that has."""
    for words in (b"one two", b"three", b"four", b"five"):  # each by a writer that dies after it
        LogWriter(tmp_path / "log", largest=10).write(words)
    assert everything(tmp_path / "log") == b"one twothreefourfive"
    assert part(tmp_path / "log", 1).read_bytes() == b"fourfive"


@given(st.lists(st.binary(max_size=200)), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_byte_for_byte_whatever_the_parts(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], largest: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = LogWriter(folder, largest=largest)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    said = b"".join(chunks)
    if not part(folder, KEPT).exists():  # else parts are gone
        assert everything(folder) == said


def test_a_follower_meets_each_byte_once_while_parts_turn(tmp_path: Path) -> None:
    said = [f"line {number} {'x' * random.randrange(90)}\n".encode() for number in range(3000)]  # noqa: S311
    log = LogWriter(tmp_path, largest=10_000)
    ended = threading.Event()

    def write() -> None:
        for line in said:
            log.write(line)
        log.close()
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    read = b"".join(follow(tmp_path, ended.is_set))
    writer.join()
    assert read == b"".join(said)
    assert part(tmp_path, 3).exists()


def test_a_follower_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.write(b"first\nsecond\n")
    log.close()
    assert everything(tmp_path, start=6) == b"second\n"


def test_a_line_without_an_end_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, longest=10)
    for chunk in (b"0123456", b"789abc", b"def\nnext\n", b"\xff\xfe\n"):
        log.write(chunk)
    log.close()
    assert everything(tmp_path) == b"0123456789 [studiolo: 6 bytes of this line left out]\nnext\n\xff\xfe\n"


def test_a_progress_bar_is_no_line_without_an_end(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, longest=10)
    for step in range(20):
        log.write(f"{step:3d} %\r".encode())
    log.close()
    assert b"left out" not in everything(tmp_path)
    assert len(everything(tmp_path)) == 120


def test_a_gigabyte_without_a_newline_costs_a_megabyte(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    chunk = b"x" * 65536
    for _ in range(16_000):
        log.write(chunk)
    log.close()
    assert part(tmp_path, 0).stat().st_size < 1_001_000
    assert everything(tmp_path).endswith(b"[studiolo: 1047576000 bytes of this line left out]")


def test_of_very_many_parts_the_first_and_the_newest_are_kept_and_the_gap_is_told(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, largest=100)
    for number in range(400):
        log.write(f"line {number:20d}\n".encode())
    log.close()
    read = everything(tmp_path)
    assert len(list(tmp_path.iterdir())) <= KEPT + 1
    assert read.startswith(b"line                    0\n")
    assert read.endswith(b"line                  399\n")
    assert read.count(b"too old to be kept") == 1


def test_a_full_disk_costs_words_and_the_log_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: in a process of its own, since it cannot be taken back."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            log = LogWriter(tmp_path)
            for _ in range(20):
                log.write(b"0123456789\n")
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            log.write(b"after\n")
            log.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    text = everything(tmp_path)
    assert text.startswith(b"0123456789\n" * 9 + b"0\n[studiolo: 120 bytes left out: the disk was full]\nafter\n")
