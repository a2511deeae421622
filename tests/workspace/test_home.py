from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from workspace.errors import Denied, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.settings import Settings

FORK = multiprocessing.get_context("fork")
NOBODY = 65534
GIT = shutil.which("git") or "git"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_workspace_is_made_on_first_use_and_found_again(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "deep" / "home") as workspace:
        asset = workspace.assets.put("data", "d", b"x")
    with Workspace.open(tmp_path / "deep" / "home") as workspace:
        assert workspace.assets.get("data", "d") == asset


def test_only_its_owner_can_look_in(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "home") as workspace:
        workspace.tokens.local()
        workspace.assets.path(workspace.assets.put("data", "d", b"x"))
        modes = {
            path.name: mode(path) for path in [workspace.home, *workspace.home.iterdir()] if path.name != ".gitignore"
        }
    assert {name for name, bits in modes.items() if bits & 0o077} == set()
    assert modes["home"] == 0o700
    assert modes["studiolo.db"] == modes["token"] == 0o600


def test_a_workspace_that_was_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Workspace.open(home) as workspace:
        workspace.tokens.local()
    home.chmod(0o755)
    (home / "studiolo.db").chmod(0o644)
    (home / "token").chmod(0o644)
    Workspace.open(home).close()
    assert (mode(home), mode(home / "studiolo.db"), mode(home / "token")) == (0o700, 0o600, 0o600)


def test_the_settings_say_where_when_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "named"))
    with Workspace.open() as workspace:
        assert workspace.home == tmp_path / "named"


def test_without_settings_it_is_made_under_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Workspace.open() as workspace:
        assert workspace.home == tmp_path / ".studiolo"
        assert workspace.settings.home.is_absolute()


@pytest.mark.postgres
def test_a_url_puts_the_records_in_postgres_and_the_rest_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("STUDIOLO_HOME", str(tmp_path / "home"))
    with Workspace.open(postgres_url) as workspace:
        asset = workspace.assets.put("data", "d", b"x")
        assert workspace.home == tmp_path / "home"
        assert not (workspace.home / "studiolo.db").exists()
    with Workspace.open(tmp_path / "home", settings=Settings(database_url=postgres_url)) as again:
        assert again.assets.list() == [asset]


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_git_does_not_see_a_workspace(workspace: Workspace) -> None:
    subprocess.run([GIT, "init", "-q", workspace.home.parent], check=True)
    done = subprocess.run(
        [GIT, "-C", workspace.home.parent, "status", "--porcelain"], check=True, capture_output=True, text=True
    )
    assert done.stdout == ""


def test_a_file_in_the_place_of_a_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(Unavailable, match="is a file, not a folder"):
        Workspace.open(tmp_path / "home")
    with pytest.raises(Unavailable, match="cannot use the workspace"):
        Workspace.open(tmp_path / "home" / "deeper")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [(0o700, Unavailable, "Permission denied"), (0o755, Denied, "belongs to another user")],
)
def test_the_workspace_of_somebody_else_is_named_and_left_alone(
    tmp_path: Path, bits: int, error: type[StudioloError], message: str
) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to("/tmp/pytest-of-root"):
            folder.chmod(0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(bits)
    queue = FORK.SimpleQueue()
    visitor = FORK.Process(target=lambda: queue.put(_open_as_nobody(tmp_path / "home")))
    visitor.start()
    visitor.join(20)
    kind, text, hint = queue.get()
    assert kind == error.__name__
    assert message in text
    assert hint
    assert list((tmp_path / "home").iterdir()) == []


def _open_as_nobody(home: Path) -> tuple[str, str, str | None]:
    os.setuid(NOBODY)
    try:
        Workspace.open(settings=Settings(home=home))
    except StudioloError as error:
        return type(error).__name__, str(error), error.hint
    return "opened", "", None


def test_what_a_killed_process_left_in_the_blobs_is_swept_at_the_next_opening(workspace: Workspace) -> None:
    incoming = workspace.home / "blobs" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "999999999-x").touch()
    Workspace.open(settings=workspace.settings).close()
    assert list(incoming.iterdir()) == []


def test_importing_the_package_and_its_errors_does_not_import_the_database() -> None:
    code = "import sys, workspace; workspace.StudioloError; workspace.Settings; print('sqlalchemy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_opening_a_workspace_that_is_up_to_date_does_not_import_the_migrations(workspace: Workspace) -> None:
    code = (
        "import sys; from workspace import Settings, Workspace; from pathlib import Path\n"
        "Workspace.open(settings=Settings(home=Path(sys.argv[1]))); print('alembic' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code, workspace.home], text=True) == "False\n"


def test_a_closed_workspace_opens_again_when_it_is_used(workspace: Workspace) -> None:
    workspace.close()
    assert workspace.assets.list() == []
