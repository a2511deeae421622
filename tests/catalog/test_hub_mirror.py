"""A real mirror between the studio and a Hub: olah, in an environment of its own, since it wants another psutil."""

from __future__ import annotations

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

from catalog.hub import Hub
from catalog.hub_server.folder import repository
from catalog.hub_server.shelf import Repositories
from catalog.pull.bring import Asked, Pulled, pull
from tests.catalog.test_pull import MODEL, _folder, _safetensors
from tests.hub import LocalHub, local_hub
from workspace import Workspace
from workspace.errors import Denied, NotFound

OLAH = "olah==0.5.4"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    root = tmp_path_factory.mktemp("hub")
    tiny = repository(MODEL, _folder(root / "tiny"), created=1.7e9)
    gated = repository("lab/gated", _folder(root / "gated"), gated="manual", readers=frozenset({"alice"}))
    with local_hub(Repositories([tiny, gated])) as running:
        yield running


@pytest.fixture(scope="module")
def mirror(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("mirror")
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        pytest.skip("no uv here, which makes the mirror's environment")
    subprocess.run([uv, "venv", "--quiet", root / "env", "--python", sys.executable], check=True)
    got = subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", root / "env", OLAH], check=False, capture_output=True, text=True
    )
    if got.returncode:
        pytest.skip(f"{OLAH} cannot be installed here: {got.stderr[:200]}")
    (root / "repos").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    upstream = hub.address.removeprefix("http://")
    large = upstream.replace("127.0.0.1", "localhost")
    command = [
        str(root / "env" / "bin" / "olah-cli"), "--host", "127.0.0.1", "--port", str(port), "--hf-scheme", "http",
        "--hf-netloc", upstream, "--hf-lfs-netloc", large, "--mirror-netloc", f"127.0.0.1:{port}",
        "--mirror-lfs-netloc", f"127.0.0.1:{port}", "--repos-path", str(root / "repos"),
        "--log-path", str(root / "logs"),
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with (
        (root / "said").open("wb") as said,
        subprocess.Popen(command, env=environment, stdout=said, stderr=said) as server,
    ):
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(address, timeout=5)
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, (root / "said").read_text()
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()
            server.wait(10)


def test_a_model_comes_through_the_mirror_verified(mirror: str, workspace: Workspace, tmp_path: Path) -> None:
    *_, done = pull(workspace, Hub(endpoint=mirror), tmp_path / "cache", Asked(reference=MODEL))
    assert isinstance(done, Pulled)
    assert (workspace.assets.path(done.asset) / "model.safetensors").read_bytes() == _safetensors()


def test_what_the_hub_refuses_is_refused_through_the_mirror(mirror: str, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(Denied):
        list(pull(workspace, Hub(endpoint=mirror), tmp_path, Asked(reference="lab/gated")))
    with pytest.raises((NotFound, Denied)):
        list(pull(workspace, Hub(endpoint=mirror), tmp_path, Asked(reference="lab/nothing")))


def test_the_official_client_works_through_mirror_and_hub(mirror: str, tmp_path: Path) -> None:
    folder = snapshot_download(MODEL, endpoint=mirror, token=False, cache_dir=tmp_path)
    assert (Path(folder) / "model.safetensors").read_bytes() == _safetensors()
    api = HfApi(endpoint=mirror, token=False)
    assert api.model_info(MODEL).id == MODEL
    assert "config.json" in [each.path for each in api.list_repo_tree(MODEL)]
    assert [each.name for each in api.list_repo_refs(MODEL).branches] == ["main"]
