"""Secrets at rest: what is sealed opens with its key only, and the key is never where the records are."""

from __future__ import annotations

import multiprocessing
import stat
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from workspace import secrets
from workspace.errors import Denied, Invalid, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.secrets import Secrets
from workspace.settings import Settings, configuration_folder

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a person who has no key yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    return Settings(home=tmp_path / "home")


class Ring:
    """A keyring that remembers, or does not answer."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.held: str | None = None

    def get_password(self, service: str, username: str, /) -> str | None:
        if not self.answers:
            raise Unavailable("the keyring of the system does not answer", hint="unlock it")
        return self.held

    def set_password(self, service: str, username: str, password: str, /) -> None:
        self.held = password


def key_file(settings: Settings) -> Path:
    return Path(settings.key_file) if settings.key_file else configuration_folder() / "key"


@pytest.mark.parametrize("text", ["k", "", "two\nlines", "ключ 🔑", "\udcff broken"])
def test_what_is_sealed_opens_again_and_shows_nothing(settings: Settings, text: str) -> None:
    kept = Secrets(settings, keyring=lambda: None)
    sealed = kept.seal(text)
    assert Secrets(settings, keyring=lambda: None).unseal(sealed) == text
    assert len(text) < 2 or text not in sealed
    assert kept.seal(text) != sealed


def test_the_key_is_a_file_of_its_owner_outside_the_workspace(settings: Settings) -> None:
    with Workspace.open(settings=settings) as workspace:
        workspace.secrets.seal("x")
    file = key_file(settings)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.is_relative_to(workspace.home)
    key = file.read_bytes().strip()
    assert not [path for path in workspace.home.rglob("*") if path.is_file() and key in path.read_bytes()]


def test_a_named_file_keeps_the_key(tmp_path: Path, settings: Settings) -> None:
    named = Settings(home=settings.home, key_file=str(tmp_path / "elsewhere" / "my key"))
    Secrets(named, keyring=Ring).seal("x")
    assert stat.S_IMODE((tmp_path / "elsewhere" / "my key").stat().st_mode) == 0o600
    assert not key_file(settings).exists()


def test_a_key_in_the_workspace_is_refused(tmp_path: Path) -> None:
    inside = Settings(home=tmp_path / "home", key_file=str(tmp_path / "home" / "key"))
    with pytest.raises(Invalid, match="next to what it locks"):
        Secrets(inside, keyring=lambda: None).seal("x")
    with pytest.raises(Invalid, match="STUDIOLO_KEY_FILE must be an absolute path"):
        Settings(key_file="key")


def test_processes_that_come_at_once_make_one_key(settings: Settings) -> None:
    queue = FORK.SimpleQueue()
    makers = [
        FORK.Process(target=lambda: queue.put(Secrets(settings, keyring=lambda: None).seal("same"))) for _ in range(8)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(30)
    sealed = [queue.get() for _ in makers]
    assert len({each.partition(":")[0] for each in sealed}) == 1
    assert {Secrets(settings, keyring=lambda: None).unseal(each) for each in sealed} == {"same"}


def test_a_lost_key_is_one_clear_error_with_a_hint(settings: Settings) -> None:
    sealed = Secrets(settings, keyring=lambda: None).seal("canary")
    key_file(settings).unlink()
    with pytest.raises(Unavailable, match=r"the key '[0-9a-f]{8}' that sealed a secret is not in ") as lost:
        Secrets(settings, keyring=lambda: None).unseal(sealed)
    assert "bring the key back (STUDIOLO_KEY_FILE names its file)" in str(lost.value.hint)
    Secrets(settings, keyring=lambda: None).seal("a new key is made")
    with pytest.raises(Unavailable, match="that sealed a secret is not in"):
        Secrets(settings, keyring=lambda: None).unseal(sealed)


@pytest.mark.parametrize("content", ["", "nonsense", "é" * 44, "A" * 44 + "B"])
def test_a_damaged_key_is_named_and_not_shown(settings: Settings, content: str) -> None:
    key_file(settings).parent.mkdir(parents=True)
    key_file(settings).write_text(content)
    with pytest.raises(Unavailable, match="is none") as damaged:
        Secrets(settings, keyring=lambda: None).seal("x")
    assert not content or content not in str(damaged.value)


@pytest.mark.parametrize("place", [9, 40, -10])
def test_a_changed_seal_does_not_open(settings: Settings, place: int) -> None:
    kept = Secrets(settings, keyring=lambda: None)
    letters = list(kept.seal("canary"))
    letters[place] = "A" if letters[place] != "A" else "B"
    with pytest.raises(Unavailable, match="a sealed secret is damaged"):
        kept.unseal("".join(letters))


def test_a_key_that_others_could_read_is_closed(settings: Settings) -> None:
    kept = Secrets(settings, keyring=lambda: None)
    sealed = kept.seal("x")
    key_file(settings).chmod(0o644)
    assert Secrets(settings, keyring=lambda: None).unseal(sealed) == "x"
    assert stat.S_IMODE(key_file(settings).stat().st_mode) == 0o600


def test_a_key_that_is_a_folder_is_named(settings: Settings) -> None:
    key_file(settings).mkdir(parents=True)
    with pytest.raises(Denied, match="cannot read the key"):
        Secrets(settings, keyring=lambda: None).seal("x")


def test_the_keyring_of_the_system_holds_the_key_where_there_is_one(settings: Settings) -> None:
    ring = Ring()
    sealed = Secrets(settings, keyring=lambda: ring).seal("x")
    assert ring.held is not None
    assert not key_file(settings).exists()
    assert Secrets(settings, keyring=lambda: ring).unseal(sealed) == "x"


def test_what_the_keyring_sealed_opens_also_after_a_file_was_made(settings: Settings) -> None:
    ring = Ring()
    old = Secrets(settings, keyring=lambda: ring).seal("old")
    new = Secrets(settings, keyring=lambda: None).seal("new")
    both = Secrets(settings, keyring=lambda: ring)
    assert (both.unseal(old), both.unseal(new)) == ("old", "new")


def test_a_keyring_that_does_not_answer_keeps_its_key(settings: Settings) -> None:
    ring = Ring()
    sealed = Secrets(settings, keyring=lambda: ring).seal("x")
    held, ring.answers = ring.held, False
    Secrets(settings, keyring=lambda: ring).seal("goes to the file")
    assert key_file(settings).exists()
    assert ring.held == held
    ring.answers = True
    assert Secrets(settings, keyring=lambda: ring).unseal(sealed) == "x"


LIBRARY = """
import time

class Backend:
    priority = {priority}
    def get_password(self, service, username):
        {get}
    def set_password(self, service, username, password):
        raise RuntimeError("locked: " + password)

def get_keyring():
    return Backend()
"""


@pytest.mark.parametrize(
    ("priority", "get", "why"),
    [("0.5", "return None", "it keeps plain text"), ("5", "time.sleep(60)", "it hangs"), ("5", "raise OSError", "")],
)
def test_a_keyring_that_is_of_no_use_never_holds_anybody_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, priority: str, get: str, why: str
) -> None:
    (tmp_path / "keyring.py").write_text(LIBRARY.format(priority=priority, get=get))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "keyring", raising=False)
    monkeypatch.setattr(secrets, "PATIENCE", 0.1)
    begun = time.monotonic()
    assert Secrets(settings).seal("x")
    assert time.monotonic() - begun < 5, why
    assert key_file(settings).exists()
    monkeypatch.delitem(__import__("sys").modules, "keyring", raising=False)


def test_a_keyring_that_keeps_nothing_says_nothing_of_the_key(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keyring.py").write_text(LIBRARY.format(priority="5", get="return None"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "keyring", raising=False)
    ring = secrets.system_keyring()
    assert ring is not None
    with pytest.raises(StudioloError) as refused:
        ring.set_password("a", "b", Fernet.generate_key().decode())
    assert "locked" not in str(refused.value)
    assert refused.value.__cause__ is None
    monkeypatch.delitem(__import__("sys").modules, "keyring", raising=False)


def test_without_the_keyring_library_there_is_no_keyring() -> None:
    assert secrets.system_keyring() is None
