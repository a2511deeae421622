"""A flow is kept with its runs without the files that hold secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import snapshot
from workspace.home import Workspace

CANARY = "sk-canary-0123456789"


def folder_with(place: Path, **files: str) -> Path:
    folder = place / "my-flow"
    (folder / "inner").mkdir(parents=True)
    (folder / "flow.dag.yaml").write_text("inputs: {}\n")
    for name, text in files.items():
        (folder / name.replace("__", "/")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", f"KEY={CANARY}\n"),
        ("my.env", f"KEY={CANARY}\n"),
        (".env.local", f"KEY={CANARY}\n"),
        ("openai.yaml", f"name: a\ntype: open_ai\napi_key: {CANARY}\n"),
        ("inner__custom.yml", f"name: a\ntype: custom\nsecrets:\n  k: {CANARY}\n"),
        ("pascal.yaml", f"name: a\ntype: Custom\nsecrets:\n  k: {CANARY}\n"),
    ],
)
def test_a_file_of_secrets_is_not_kept_with_the_run(workspace: Workspace, tmp_path: Path, name: str, text: str) -> None:
    folder = folder_with(tmp_path, **{name: text, "say.py": "x = 1\n"})
    asset = snapshot.keep(workspace, "my-flow", folder)
    kept = {path.name for path in workspace.assets.path(asset).rglob("*") if path.is_file()}
    assert kept == {"flow.dag.yaml", "say.py"}
    assert [path for path in workspace.home.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []
    assert (folder / name.replace("__", "/")).exists()


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ntype: open_ai\napi_key: ${env:KEY}\n",
        "name: a\ntype: custom\nsecrets:\n  k: <user-input>\n",
        "inputs:\n  api_key: {type: string}\ntype: chat\n",
        "type: [api_key\n",
        "type: [api_key]\n",
        "- api_key\n- type\n",
    ],
)
def test_a_file_that_shows_no_secret_is_kept(tmp_path: Path, workspace: Workspace, text: str) -> None:
    folder = folder_with(tmp_path, **{"other.yaml": text})
    assert list(snapshot.secret_files(folder)) == []
    asset = snapshot.keep(workspace, "my-flow", folder)
    assert (workspace.assets.path(asset) / "other.yaml").exists()


def test_the_same_flow_is_the_same_version(tmp_path: Path, workspace: Workspace) -> None:
    folder = folder_with(tmp_path, **{".env": f"KEY={CANARY}\n"})
    first = snapshot.keep(workspace, "my-flow", folder)
    (folder / ".env").write_text("KEY=another\n")
    assert snapshot.keep(workspace, "my-flow", folder).ref == first.ref


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", {"a.log", "data/a.log", "data/deep/b.txt", "cache/c.txt", "x.txt"}),
        ("*.log\n# words\n\n", {"data/deep/b.txt", "cache/c.txt", "x.txt"}),
        ("*.log\n!data/a.log\n", {"data/a.log", "data/deep/b.txt", "cache/c.txt", "x.txt"}),
        ("/a.log\ncache/\n", {"data/a.log", "data/deep/b.txt", "x.txt"}),
        ("data/**/b.txt\n**/a.log\n", {"cache/c.txt", "x.txt"}),
        ("data\n!data/deep/b.txt\n", {"a.log", "cache/c.txt", "x.txt"}),
        ("x.txt/\n[ac]*/\n", {"a.log", "data/a.log", "data/deep/b.txt", "x.txt"}),
        ("data/*.log\n?.log\n", {"data/deep/b.txt", "cache/c.txt", "x.txt"}),
    ],
)
def test_what_a_flow_ignores_is_not_kept(tmp_path: Path, workspace: Workspace, text: str, kept: set[str]) -> None:
    folder = tmp_path / "my-flow"
    for name in ("a.log", "data/a.log", "data/deep/b.txt", "cache/c.txt", "x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".gitignore").write_text(text)
    content = workspace.assets.path(snapshot.keep(workspace, "my-flow", folder))
    found = {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}
    assert found == kept | {".gitignore"}


def test_amlignore_goes_before_gitignore(tmp_path: Path, workspace: Workspace) -> None:
    folder = folder_with(tmp_path, **{".gitignore": "*.py\n", ".amlignore": "*.md\n", "say.py": "", "a.md": ""})
    content = workspace.assets.path(snapshot.keep(workspace, "my-flow", folder))
    assert sorted(path.name for path in content.iterdir() if path.is_file()) == [
        ".amlignore", ".gitignore", "flow.dag.yaml", "say.py",
    ]  # fmt: skip


def test_an_environment_in_the_flows_folder_is_no_part_of_it(tmp_path: Path, workspace: Workspace) -> None:
    folder = folder_with(tmp_path, **{"say.py": "x = 1\n"})
    first = snapshot.keep(workspace, "my-flow", folder)
    for name in (".venv/bin", ".promptflow", "node_modules"):
        (folder / name).mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to("/usr/bin/env")
    (folder / ".venv" / "lib64").symlink_to("/usr/lib")
    (folder / ".promptflow" / "flow.output.json").write_text(CANARY)
    assert snapshot.keep(workspace, "my-flow", folder).ref == first.ref
