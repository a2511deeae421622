"""Secrets at rest: text is sealed with a key that lies outside the workspace, so that a copied workspace tells nothing.

The key is, in this order: the file that the settings name, the file in the person's own configuration, an entry in
the keyring of the system. The first that exists seals; where there is none, one is made: in the keyring where the
system has one that works, else in the file. Each sealed text names its key, so that several can be in use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from workspace.errors import Denied, Invalid, Unavailable
from workspace.filesystems import close_to_others
from workspace.paths import locked, unwritable, write_atomically
from workspace.settings import Settings, configuration_folder, variable

FILE = "key"
ENTRY = ("studiolo", "secrets")
PATIENCE = 10.0  # seconds for a keyring to answer; one that waits for a person may never do so
_MARK = 8  # hex digits


class Keyring(Protocol):
    """What we ask of a keyring, in the words of the `keyring` library."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """Return what is kept under these names."""

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Keep it."""


class Secrets:
    """Seals and opens text with the key of the person this process runs for."""

    def __init__(self, settings: Settings, *, keyring: Callable[[], Keyring | None] | None = None) -> None:
        self._home = settings.home.expanduser().absolute()
        self._named = Path(settings.key_file).expanduser() if settings.key_file else None
        self._file = self._named or configuration_folder() / FILE
        self._open_keyring = keyring or system_keyring
        self._keys: dict[str, bytes] = {}  # by mark
        self._current = ""

    def seal(self, text: str) -> str:
        """Return the text so that only the key opens it; the key is made where there is none."""
        from cryptography.fernet import Fernet

        if not self._current:
            self._current = self._learn(self._first())
        token = Fernet(self._keys[self._current]).encrypt(text.encode("utf-8", "surrogatepass"))
        return f"{self._current}:{token.decode()}"

    def unseal(self, sealed: str) -> str:
        """Return the text that was sealed; Unavailable where its key is not here or is another's."""
        from cryptography.fernet import Fernet, InvalidToken

        mark, _, token = sealed.partition(":")
        key = self._keys.get(mark) or self._find(mark)
        try:
            return Fernet(key).decrypt(token).decode("utf-8", "surrogatepass")
        except InvalidToken:
            raise Unavailable("a sealed secret is damaged", hint="give the secret again") from None

    def _find(self, mark: str) -> bytes:
        for key in self._known():
            if self._learn(key) == mark:
                return key
        raise Unavailable(
            f"the key {mark!r} that sealed a secret is not in {self._file}, nor in the keyring of the system",
            hint=f"bring the key back ({variable('key_file')} names its file), or give the secret again",
        )

    def _known(self) -> Iterator[bytes]:
        """All keys of this person; the keyring is only asked when the file was not the one."""
        if self._file.exists():
            yield self._read()
        keyring = self._open_keyring()
        held = _held(keyring) if keyring else None
        if held:
            yield held

    def _first(self) -> bytes:
        """Return the key that seals, made where there is none; processes that come at once make one together."""
        self._refuse_inside()
        if self._file.exists():
            return self._read()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritable(self._file.parent, error) from error
        with locked(self._file.with_name(f".{self._file.name}.lock")):
            if self._file.exists():
                return self._read()
            keyring = None if self._named else self._open_keyring()
            key = _kept(keyring) if keyring else None
            if key is None:
                key = _new()
                write_atomically(self._file, key + b"\n")
            return key

    def _read(self) -> bytes:
        try:
            close_to_others(self._file)
            return _checked(self._file.read_text(errors="replace"), str(self._file))
        except OSError as error:
            hint = f"give yourself alone the right to read it: chmod 600 {self._file}"
            raise Denied(f"cannot read the key in {self._file}: {error.strerror}", hint=hint) from error

    def _learn(self, key: bytes) -> str:
        mark = hashlib.sha256(key).hexdigest()[:_MARK]
        self._keys[mark] = key
        return mark

    def _refuse_inside(self) -> None:
        if self._file.resolve().is_relative_to(self._home.resolve()):
            raise Invalid(
                f"the key file {self._file} is in the workspace, next to what it locks",
                hint=f"let {variable('key_file')} name a file elsewhere",
            )


def system_keyring() -> Keyring | None:
    """Return the keyring of the system where the `keyring` library and a backend that keeps secrets well are there."""
    try:
        library = importlib.import_module("keyring")
    except ImportError:
        return None
    try:
        found = _within(PATIENCE, library.get_keyring)
        priority = _within(PATIENCE, lambda: found.priority)
    except Unavailable:
        return None
    # The library's own line between a real keyring and a file of plain text, or none at all.
    return _Patient(found) if priority >= 1 else None


def _held(keyring: Keyring) -> bytes | None:
    try:
        held = keyring.get_password(*ENTRY)
    except Unavailable:
        return None
    return _checked(held, "the keyring of the system") if held else None


def _kept(keyring: Keyring) -> bytes | None:
    """Return the keyring's key, made where it holds none; None where it does not answer, and nothing is changed."""
    try:
        held = keyring.get_password(*ENTRY)
        if not held:
            held = _new().decode()
            keyring.set_password(*ENTRY, held)
    except Unavailable:
        return None
    return _checked(held, "the keyring of the system")


class _Patient:
    """A keyring that answers in time or is Unavailable: behind it may be a window that nobody sees."""

    def __init__(self, keyring: Any) -> None:
        self._keyring = keyring

    def get_password(self, service: str, username: str, /) -> str | None:
        held: str | None = _within(PATIENCE, lambda: self._keyring.get_password(service, username))
        return held

    def set_password(self, service: str, username: str, password: str, /) -> None:
        _within(PATIENCE, lambda: self._keyring.set_password(service, username, password))


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """Return what the work returns; Unavailable where it fails or takes longer."""
    answer: queue.SimpleQueue[tuple[Any, bool]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put((work(), True))
        except Exception:  # noqa: BLE001 - backends raise what their system raises; it may name what they hold
            answer.put((None, False))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, worked = answer.get(timeout=seconds)
    except queue.Empty:
        worked = False
    if not worked:
        raise Unavailable("the keyring of the system does not answer", hint="unlock it")
    return value


def _new() -> bytes:
    from cryptography.fernet import Fernet

    return Fernet.generate_key()


def _checked(text: str, where: str) -> bytes:
    raw = text.strip().encode()
    try:
        if len(base64.urlsafe_b64decode(raw)) == 32:
            return raw
    except (binascii.Error, ValueError):
        pass
    raise Unavailable(f"what is kept as the key in {where} is none", hint="bring the key back from a backup")
