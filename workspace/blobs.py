"""Content stored once by its SHA-256: a file is a blob, a folder is a blob that lists its files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from io import BufferedIOBase
from pathlib import Path

from workspace.errors import Conflict, Invalid, NotFound, Unavailable
from workspace.paths import safe_join, unwritable

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20
MANY, AT_ONCE = 32, 8  # files of a folder from which on several are stored at the same time, and how many


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file or folder: `digest` is "sha256:" and 64 hex digits, `size` the bytes of all its files."""

    digest: str
    size: int
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a stored folder."""

    path: str
    digest: str
    size: int
    executable: bool


class Blobs:
    """The blobs of one workspace, in `root`; adding the same content again costs a read and no space."""

    def __init__(self, root: Path) -> None:
        self._root = root / "sha256"
        self._incoming = root / "incoming"

    def add(self, content: Path | bytes, *, share: bool = False) -> Blob:
        """Store bytes, a file or a folder, and return its blob; it is there whole or not at all.

        `share=True` says that nobody writes to the source again: on one file system the store links to its bytes
        instead of copying them, and makes them read-only.
        """
        if isinstance(content, bytes):
            return self._add_bytes(content)
        if content.is_dir():
            return self._add_folder(content, share=share)
        return self._add_file(content, share=share)

    def add_files(self, files: Iterable[tuple[str, Path]], *, share: bool = False) -> Blob:
        """Store files, each under its path in a folder that they make up, and return the folder's blob."""
        return self._add_entries(files, share=share)

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return self._place(digest).exists()

    def path(self, digest: str) -> Path:
        """Return the file that holds a blob. It is read-only: others may share its bytes."""
        path = self._place(digest)
        if not path.exists():
            raise NotFound(f"no blob {digest}", hint="`studiolo doctor` looks for damage")
        return path

    def read(self, digest: str) -> bytes:
        """Return the bytes of a blob."""
        return self.path(digest).read_bytes()

    def entries(self, digest: str) -> tuple[Entry, ...]:
        """Return the files of a stored folder, sorted by path."""
        rows = json.loads(self.read(digest))["files"]
        return tuple(Entry(path, digest, size, executable) for path, digest, size, executable in rows)

    def materialise(self, blob: Blob, target: Path) -> Path:
        """Make a file or folder at `target` with the content of a blob, by hard links where possible; return it.

        `target` appears in one step, whole; one that exists already is left as it is.
        """
        if target.exists():
            return target
        with _writing(target):
            _made(target.parent)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
                whole = Path(temporary) / "content"
                if blob.is_folder:
                    whole.mkdir(mode=0o700)
                    for entry in self.entries(blob.digest):
                        self._link(entry.digest, safe_join(whole, entry.path), executable=entry.executable)
                else:
                    self._link(blob.digest, whole, executable=False)
                _rename_unless_there(whole, target)
        return target

    def verify(self, blob: Blob) -> None:
        """Read a blob, and the files of a folder, again; raise Conflict where a byte has changed."""
        digests = (
            [blob.digest, *(entry.digest for entry in self.entries(blob.digest))] if blob.is_folder else [blob.digest]
        )
        for digest in digests:
            with self.path(digest).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != f"sha256:{found}":
                raise Conflict(f"blob {digest} is damaged", hint=f"restore {self.path(digest)} from a backup")

    def clean(self) -> int:
        """Remove what processes that were killed in the middle of `add` have left; return how many files."""
        left = [path for path in self._incoming.glob("*-*") if not _runs(path.name.partition("-")[0])]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _add_bytes(self, content: bytes) -> Blob:
        blob = Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        if not self._place(blob.digest).exists():
            with self._temporary() as (file, temporary):
                file.write(content)
                self._keep(file, temporary, blob.digest)
        return blob

    def _add_file(self, source: Path, *, share: bool) -> Blob:
        with _reading(source) as file:
            if share and (blob := self._shared(source, file)):
                return blob
            digest, size = hashlib.sha256(), 0
            # Hashed as it is copied: what is stored is what was hashed, whoever writes to the source meanwhile.
            with self._temporary() as (copy, temporary):
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                    size += len(chunk)
                blob = Blob(f"sha256:{digest.hexdigest()}", size)
                if not self._place(blob.digest).exists():
                    self._keep(copy, temporary, blob.digest)
        return blob

    def _shared(self, source: Path, file: BufferedIOBase) -> Blob | None:
        """Link the source into the store; None where that cannot be or where others have a name for its bytes."""
        status = os.fstat(file.fileno())
        if source.is_symlink() or status.st_nlink > 1 or status.st_dev != _made(self._incoming).stat().st_dev:
            return None
        blob = Blob(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}", status.st_size)
        place = self._place(blob.digest)
        if not place.exists():
            with _writing(place):
                os.fchmod(file.fileno(), 0o400)
                os.fsync(file.fileno())
                _made(place.parent)
                with contextlib.suppress(FileExistsError):
                    place.hardlink_to(source)
                _sync(place.parent)
        return blob

    def _add_folder(self, source: Path, *, share: bool) -> Blob:
        return self._add_entries(
            ((path.relative_to(source).as_posix(), path) for path in files_of(source)), share=share
        )

    def _add_entries(self, files: Iterable[tuple[str, Path]], *, share: bool) -> Blob:
        def entry(named: tuple[str, Path]) -> Entry:
            executable = bool(named[1].stat().st_mode & stat.S_IXUSR)
            blob = self._add_file(named[1], share=share)
            return Entry(named[0], blob.digest, blob.size, executable)

        listed = list(files)
        if len(listed) < MANY:
            entries = [entry(each) for each in listed]
        else:
            from concurrent.futures import ThreadPoolExecutor  # here: most folders are small

            # Disks bring the files of several who wait to safety at once: a fifth of the time of one after the other.
            with ThreadPoolExecutor(AT_ONCE) as pool:
                entries = list(pool.map(entry, listed))
        rows = sorted(astuple(entry) for entry in entries)
        listing = json.dumps({"files": rows}, ensure_ascii=False, separators=(",", ":")).encode()
        return Blob(self._add_bytes(listing).digest, sum(entry.size for entry in entries), is_folder=True)

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise Invalid(f"{digest!r} is no digest", hint="'sha256:' and 64 hex digits")
        return self._root / digest[7:9] / digest[9:]

    def _keep(self, file: BufferedIOBase, temporary: Path, digest: str) -> None:
        file.flush()
        os.fchmod(file.fileno(), 0o400)
        os.fsync(file.fileno())
        place = self._place(digest)
        temporary.replace(_made(place.parent) / place.name)
        _sync(place.parent)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[BufferedIOBase, Path]]:
        with _writing(self._root):
            handle, name = tempfile.mkstemp(dir=_made(self._incoming), prefix=f"{os.getpid()}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    yield file, Path(name)
            finally:
                Path(name).unlink(missing_ok=True)

    def _link(self, digest: str, target: Path, *, executable: bool) -> None:
        _made(target.parent)
        source = self.path(digest)
        try:
            if executable:  # links share one mode
                raise OSError(errno.EXDEV, "mode differs")
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
                raise
            shutil.copyfile(source, target)
            target.chmod(0o500 if executable else 0o400)


NO_CONTENT = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".DS_Store"})


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder in a fixed order; Invalid at linked folders, links that lead out and devices.

    Byte code, caches of tools and version control (`__pycache__`, `.git`, …) are not content.
    """
    root = folder.resolve()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NO_CONTENT)
        for name in sorted({*folders, *names} - NO_CONTENT):
            path = Path(place, name)
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
                raise Invalid(f"{path} is a link to a folder or out of its own", hint="follow the links first: cp -rL")
            if name in folders:
                continue
            if not path.is_file():
                raise Invalid(f"{path} is neither a file nor a folder", hint="take it out of the folder")
            yield path


def _made(folder: Path) -> Path:
    if not folder.exists():
        _made(folder.parent)  # mkdir(parents=True) would leave the folders above open to others
        folder.mkdir(exist_ok=True, mode=0o700)
        _sync(folder.parent)
    return folder


def _sync(folder: Path) -> None:
    # The name of a file is kept by its folder: without this a power cut could take the name and leave the bytes.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _rename_unless_there(whole: Path, target: Path) -> None:
    try:
        whole.rename(target)
    except OSError as error:
        # Another process was faster: a folder that has content is not replaced, and holds the same.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


@contextmanager
def _reading(source: Path) -> Iterator[BufferedIOBase]:
    try:
        file = source.open("rb")
    except FileNotFoundError:
        raise NotFound(f"no file {str(source)!r}", hint="check the path") from None
    except OSError as error:
        raise Unavailable(f"cannot read {source}: {error.strerror}", hint="check its permissions") from error
    with file:
        yield file


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(target, error) from error
