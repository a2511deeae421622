"""Models brought, listed, served to another machine, verified and taken away, from a shell."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi, snapshot_download

from catalog.hub_server.folder import repository
from catalog.hub_server.shelf import Repositories
from tests.catalog.test_pull import MODEL, _folder, _safetensors
from tests.hub import LocalHub, local_hub
from workspace import Workspace
from workspace.settings import Settings

CATALOG = (sys.executable, "-m", "studiolo", "catalog")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    root = tmp_path_factory.mktemp("hub")
    coded = {"config.json": '{"auto_map": {"AutoModel": "m.M"}}', "m.py": "print('hi')\n"}
    tiny = repository(MODEL, _folder(root / "tiny"), created=1.7e9, cardData={"license": "mit"})
    with local_hub(Repositories([tiny, repository("lab/coded", _folder(root / "coded", **coded))])) as running:
        yield running


def _said(home: Path, endpoint: str, *words: str, code: int = 0, token: str = "") -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "STUDIOLO_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf")}
    variables |= {"HF_TOKEN": token} if token else {}
    done = subprocess.run([*CATALOG, *words], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def first(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that has pulled the model."""
    home = tmp_path_factory.mktemp("first")
    assert "model:lab--tiny:1" in _said(home, hub.address, "pull", MODEL).stdout
    return home


def test_what_was_brought_is_listed_with_what_is_new_at_the_hub_and_verified(hub: LocalHub, first: Path) -> None:
    (row,) = json.loads(_said(first, hub.address, "list", "--upstream", "--json").stdout)
    assert (row["model"], row["from"], row["license"], row["upstream"]) == (
        "lab--tiny:1", f"hf:{MODEL}", "mit", "the same",
    )  # fmt: skip
    assert "whole, 4 files" in _said(first, hub.address, "verify").stdout


def test_what_is_refused_is_shown_and_comes_with_a_reason_alone(hub: LocalHub, tmp_path: Path) -> None:
    refused = _said(tmp_path, hub.address, "pull", "lab/coded", code=1)
    assert "auto_map" in refused.stderr
    assert "--show-refused" in refused.stderr
    shown = _said(tmp_path, hub.address, "pull", "lab/coded", "--show-refused").stdout
    assert "+print('hi')" in shown
    assert (
        "model:lab--coded:1" in _said(tmp_path, hub.address, "pull", "lab/coded", "--trust", "we have read m.py").stdout
    )


def test_another_machine_pulls_from_this_one_with_a_token(first: Path, tmp_path: Path) -> None:
    with Workspace.open(settings=Settings(home=first)) as workspace:
        token = workspace.tokens.local()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    variables = {**os.environ, "STUDIOLO_HOME": str(first), "HF_HOME": str(first / "hf")}
    with subprocess.Popen([*CATALOG, "serve", "--port", str(port)], env=variables, stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr is not None
            assert f"HF_ENDPOINT={address}" in server.stderr.readline().decode()
            _wait_for(address)
            assert httpx.get(f"{address}/api/models").status_code == 401
            assert [each.id for each in HfApi(endpoint=address, token=token).list_models()] == [MODEL]
            folder = snapshot_download(MODEL, endpoint=address, token=token, cache_dir=tmp_path / "cache")
            assert (Path(folder) / "model.safetensors").read_bytes() == _safetensors()
            other = tmp_path / "other"
            assert "lab--tiny:1" in _said(other, address, "pull", MODEL, token=token).stdout
            (row,) = json.loads(_said(other, address, "list", "--json").stdout)
            with Workspace.open(settings=Settings(home=first)) as workspace:
                pinned = workspace.assets.get("model", "lab--tiny").properties["source"]["revision"]
            assert pinned.startswith(row["revision"])
        finally:
            server.kill()


def test_a_hub_without_tokens_is_for_this_machine_alone(tmp_path: Path) -> None:
    said = _said(tmp_path, "", "serve", "--host", "0.0.0.0", "--open", code=1)  # noqa: S104
    assert "without a token" in said.stderr


def test_a_model_is_taken_away(hub: LocalHub, tmp_path: Path) -> None:
    _said(tmp_path, hub.address, "pull", MODEL, "--as", "mine")
    assert "model:mine:1 is archived" in _said(tmp_path, hub.address, "rm", "mine", "--yes").stdout
    assert json.loads(_said(tmp_path, hub.address, "list", "--json").stdout) == []
    assert not list((tmp_path / "hf").glob("hub/models--*"))


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(address)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
