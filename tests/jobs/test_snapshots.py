"""Code is kept as it was, without what its ignore file names; where it came from is told without secrets."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from jobs.snapshots import SETTLED, code_files, git_properties, kept, snapshot
from workspace.blobs import Blob
from workspace.errors import Invalid
from workspace.home import Workspace


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(folder: Path) -> list[str]:
    return [name for name, _ in code_files(folder)]


def test_an_ignore_file_leaves_files_out_and_the_last_word_counts(tmp_path: Path) -> None:
    code = tree(tmp_path, "main.py", "data/big.bin", "data/keep.csv", "a.log", "sub/b.log", "sub/top.txt", "top.txt")
    (code / ".gitignore").write_text("# no data\n*.log\ndata/**\n!data/keep.csv\n/top.txt\n")
    assert sorted(names(code)) == [".gitignore", "data/keep.csv", "main.py", "sub/top.txt"]


def test_an_amlignore_counts_alone(tmp_path: Path) -> None:
    code = tree(tmp_path, "main.py", "a.log", "b.tmp")
    (code / ".gitignore").write_text("*.log\n")
    (code / ".amlignore").write_text("*.tmp\n.gitignore\n.amlignore\n")
    assert names(code) == ["a.log", "main.py"]


def test_links_are_followed_and_caches_and_version_control_left_out(tmp_path: Path) -> None:
    other = tree(tmp_path / "other", "shared.py")
    code = tree(tmp_path / "code", "main.py", "__pycache__/x.pyc", ".git/config")
    (code / "lib").symlink_to(other)
    assert sorted(names(code)) == ["lib/shared.py", "main.py"]


def test_a_folder_in_itself_is_refused(tmp_path: Path) -> None:
    code = tree(tmp_path, "main.py")
    (code / "again").symlink_to(code)
    with pytest.raises(Invalid, match="inside itself"):
        names(code)


def test_the_same_code_is_kept_once_and_changed_code_anew(workspace: Workspace, tmp_path: Path) -> None:
    code = tree(tmp_path / "code", "main.py", "run.sh")
    (code / "run.sh").chmod(0o755)
    first = snapshot(workspace, code)
    assert snapshot(workspace, code) == first
    assert [(entry.path, entry.executable) for entry in workspace.blobs.entries(first.digest)] == [
        ("main.py", False), ("run.sh", True),
    ]  # fmt: skip
    (code / "main.py").write_text("changed")
    assert snapshot(workspace, code) != first


def test_code_that_has_not_changed_is_not_read_again(workspace: Workspace, tmp_path: Path) -> None:
    code = tree(tmp_path / "code", "main.py")
    files = [("main.py", code / "main.py")]
    reads = []

    def keep() -> Blob:
        reads.append(1)
        return workspace.blobs.add_files(files)

    kept(workspace, code, files, keep)
    kept(workspace, code, files, keep)
    assert len(reads) == 2  # written to a moment ago: it could be again, within one tick of the clock
    time.sleep(SETTLED + 0.1)
    for _ in range(3):
        kept(workspace, code, files, keep)
    assert len(reads) == 3
    (code / "main.py").write_text("changed")
    kept(workspace, code, files, keep)
    assert len(reads) == 4


def test_a_snapshot_of_a_single_file_is_a_folder_with_it(workspace: Workspace, tmp_path: Path) -> None:
    tree(tmp_path, "main.py")
    blob = snapshot(workspace, tmp_path / "main.py")
    assert [entry.path for entry in workspace.blobs.entries(blob.digest)] == ["main.py"]


def test_where_the_code_comes_from_is_told_in_azures_words(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.test"]
    tree(tmp_path, "main.py")
    for line in (
        ["init", "-q", "-b", "trunk"],
        ["remote", "add", "origin", "https://me:s3cret@example.test/code.git"],
        ["add", "."],
        ["commit", "-q", "-m", "x"],
    ):
        subprocess.run([*git, *line], check=True)
    found = git_properties(tmp_path)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert found["azureml.git.repository_uri"] == found["mlflow.source.git.repoURL"] == "https://example.test/code.git"
    assert found["azureml.git.branch"] == found["mlflow.source.git.branch"] == "trunk"
    assert found["azureml.git.commit"] == found["mlflow.source.git.commit"] == commit
    assert found["azureml.git.dirty"] == "False"
    (tmp_path / "main.py").write_text("changed")
    assert git_properties(tmp_path)["azureml.git.dirty"] == "True"


def test_outside_a_repository_nothing_is_told(tmp_path: Path) -> None:
    assert git_properties(tmp_path) == {}
