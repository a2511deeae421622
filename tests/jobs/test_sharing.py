"""One job's files as another's: shared, or copied where the file system cannot; twice is as good as once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.sharing import share


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def left(folder: Path) -> Path:
    (folder / "model/part").mkdir(parents=True)
    (folder / "model/part/weights").write_text("1 2 3")
    (folder / "scores").write_text("0.9")
    return folder


def test_what_a_job_has_left_takes_no_room_twice(tmp_path: Path) -> None:
    source, target = left(tmp_path / "trial"), tmp_path / "sweep"
    for _ in range(2):  # who was killed in between begins anew
        for name in ("model", "scores"):
            share(source / name, target / name)
    for name in ("model/part/weights", "scores"):
        assert (source / name).samefile(target / name)


def test_on_another_file_system_it_is_copied(tmp_path: Path, elsewhere: Path) -> None:
    source, target = left(tmp_path / "trial"), elsewhere / "sweep"
    for name in ("model", "scores"):
        share(source / name, target / name)
    assert (target / "model/part/weights").read_text() == "1 2 3"
    assert (target / "scores").read_text() == "0.9"
