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
