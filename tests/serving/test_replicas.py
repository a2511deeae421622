"""Engine processes: one for a model, whoever asks."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import replicas
from serving.endpoints import Deployment
from serving.readiness import Engines
from workspace.errors import Denied, Unavailable
from workspace.home import Workspace


@pytest.fixture
def tiny(workspace: Workspace, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment whose engine starts, and ends when it finds that the model is none."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text('{"model_type": "no such thing"}')
    workspace.assets.put("model", "tiny", tmp_path / "tiny", properties={"task": "chat"})
    yield Deployment(endpoint="tiny", name="default", engine="torch", model="model:tiny:1")
    replicas.stop_all(workspace.home)


def test_of_many_who_ask_at_once_one_starts_the_engine(workspace: Workspace, tiny: Deployment) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: replicas.adopt_or_start(workspace, tiny), range(8))]
    assert len({replica.pid for replica, _ in found}) == 1
    assert len([child for _, child in found if child]) == 1


def test_a_dead_engine_is_not_adopted(workspace: Workspace, tiny: Deployment) -> None:
    first, _ = replicas.adopt_or_start(workspace, tiny)
    replicas.stop(first)
    assert not first.alive
    second, _ = replicas.adopt_or_start(workspace, tiny)
    assert second.pid != first.pid


def test_an_engine_leads_a_session_of_its_own_and_gets_no_secrets(
    workspace: Workspace, tiny: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    replica, _ = replicas.adopt_or_start(workspace, tiny)
    environment = Path(f"/proc/{replica.pid}/environ").read_bytes()
    assert os.getsid(replica.pid) == replica.pid
    assert b"OMP_WAIT_POLICY=PASSIVE" in environment
    assert b"hf_secret" not in environment


def test_other_options_are_another_engine(tiny: Deployment) -> None:
    other = Deployment(
        endpoint="a", name="b", engine="torch", model=tiny.model, properties={"dtype": "float32", "note": "x"}
    )
    same = Deployment(endpoint="a", name="b", engine="torch", model=tiny.model, properties={"note": "x"})
    assert replicas.key_of(same) == replicas.key_of(tiny) == "tiny-1"
    assert replicas.key_of(other) != replicas.key_of(tiny)


async def test_a_start_that_fails_says_what_the_engine_said_last(workspace: Workspace, tiny: Deployment) -> None:
    engines = Engines(workspace)
    failures = await asyncio.gather(engines.addresses(tiny), engines.addresses(tiny), return_exceptions=True)
    for failure in failures:
        assert isinstance(failure, Unavailable)
        assert "model:tiny:1 ended while loading (exit code" in str(failure)
        assert "cannot load the model" in str(failure)


def test_a_long_home_listens_in_a_short_private_folder() -> None:
    home = Path("/", *["a-very-long-name"] * 7)
    path = replicas.socket_path(home, "model-1")
    assert len(str(path)) <= replicas.LONGEST_SOCKET
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path == replicas.socket_path(home, "model-1") != replicas.socket_path(home / "b", "model-1")
    path.parent.rmdir()
    replicas.socket_path(home / "b", "model-1").parent.rmdir()


@pytest.mark.parametrize("trap", ["open to others", "a link"])
def test_a_short_folder_that_others_could_have_laid_out_is_refused(trap: str, tmp_path: Path) -> None:
    home = Path("/", *["another-long-name"] * 7)
    folder = replicas.socket_path(home, "model-1").parent
    folder.rmdir()
    if trap == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(0o755)
    try:
        with pytest.raises(Denied, match="not ours alone"):
            replicas.socket_path(home, "model-1")
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def test_a_short_home_listens_at_home() -> None:
    home = Path(tempfile.gettempdir()) / "h"
    assert replicas.socket_path(home, "m-1") == home / "services" / "engine-m-1.sock"
