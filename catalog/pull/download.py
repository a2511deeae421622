"""Files of a model, fetched into the cache that all tools of Hugging Face share: resumed, verified, and then visible.

huggingface_hub begins a file anew after a kill and shows it before anybody has compared its digest; the folders and
names here are its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx

from catalog.hub import Hub, Patience, origin, refused, seconds_to_wait
from catalog.pull.judging import check_content
from catalog.pull.remote import Remote, RemoteFile
from workspace import egress
from workspace.errors import Denied, Invalid, Unavailable
from workspace.paths import locked, safe_join, unwritable, writing

SPARE = 500_000_000  # bytes that a disk keeps
SMALL = 4_000_000  # bytes of a text that is looked at before anything else
_CHUNK = 1 << 20
_EVERY = 0.5  # seconds between two words of progress
_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Fetched:
    """So much of all that comes is here: bytes, and the file at work."""

    path: str
    done: int
    total: int


def cache_of(cache: Path, repo: str) -> Path:
    """Return the folder of a model in the shared cache."""
    return cache / f"models--{repo.replace('/', '--')}"


def snapshot_of(cache: Path, remote: Remote) -> Path:
    """Return the folder in which a commit's files are found by their paths."""
    return cache_of(cache, remote.repo) / "snapshots" / remote.revision


def check_room(cache: Path, remote: Remote, files: Iterable[RemoteFile]) -> None:
    """Raise where what is missing does not fit on the disk of the cache."""
    blobs = cache_of(cache, remote.repo) / "blobs"
    missing = {each.etag: each.size for each in files if not (blobs / each.etag).exists()}
    parts = sum(part.stat().st_size for etag in missing if (part := _part(blobs, etag)).exists())
    place = next(each for each in (cache, *cache.parents) if each.exists())
    free, needed = shutil.disk_usage(place).free, sum(missing.values()) - parts
    if needed + SPARE > free:
        raise Unavailable(
            f"{remote.repo} needs {needed / 1e9:.2f} GB more and {place} has {free / 1e9:.2f} GB left",
            hint="free some space (`hf cache ls`), or set HF_HOME to another disk",
        )


class Fetching:
    """Downloads from one Hub: `for event in Fetching(hub, cache).fetch(remote, files): …`."""

    def __init__(self, hub: Hub, cache: Path, patience: Patience | None = None) -> None:
        self._hub = hub
        self._cache = cache
        self._patience = patience or Patience()
        self._client = httpx.Client(headers={"User-Agent": "studiolo", "Accept-Encoding": "identity"}, timeout=30.0)

    def __enter__(self) -> Fetching:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, remote: Remote, file: RemoteFile) -> bytes:
        """Return a small file without keeping it."""
        if file.size > SMALL:
            raise Invalid(f"{file.path} of {remote.repo} has {file.size:,} bytes: too many to look at")
        found: list[bytes] = []
        for _ in self._tried(remote, file, lambda: self._read(remote, file, found)):
            pass
        if _digest(file, found[-1]) != file.etag:
            raise _other(remote, file)
        return found[-1]

    def fetch(self, remote: Remote, files: tuple[RemoteFile, ...]) -> Iterator[Fetched]:
        """Fetch what is missing, the small ones first, and show all of it in one step when all of it is verified."""
        folder = cache_of(self._cache, remote.repo)
        blobs = folder / "blobs"
        total, done = sum(each.size for each in files), 0
        with writing(blobs):
            blobs.mkdir(parents=True, exist_ok=True)
        with locked(blobs / ".studiolo.lock"):
            for file in sorted(files, key=lambda each: each.size):
                for size in self._one(remote, file, blobs):
                    yield Fetched(file.path, done + size, total)
                done += file.size
            for file in files:
                check_content(file.path, blobs / file.etag)
            _show(folder, remote, files)

    def _one(self, remote: Remote, file: RemoteFile, blobs: Path) -> Iterator[int]:
        place, part = blobs / file.etag, _part(blobs, file.etag)
        if place.exists():  # others may have put it there: it is read again
            if _matches(file, place):
                yield file.size
                return
            place.unlink()
        yield from self._tried(remote, file, lambda: self._append(remote, file, part))
        try:
            if not _matches(file, part):
                raise _other(remote, file)
            check_content(file.path, part)
        except Denied:
            part.unlink(missing_ok=True)
            raise
        with writing(place):
            part.replace(place)

    def _tried(self, remote: Remote, file: RemoteFile, work: Callable[[], Iterator[int]]) -> Iterator[int]:
        """Do what may fail for a moment, several times."""
        for attempt in range(self._patience.tries):
            try:
                yield from work()
                return
            except (httpx.TransportError, Unavailable) as error:
                if attempt + 1 == self._patience.tries:
                    what = f"{file.path} of {remote.repo} does not come: {str(error) or type(error).__name__}"
                    raise Unavailable(what[:300], hint="run it again: what is here is kept") from None
                pause = min(self._patience.longest, self._patience.first * 2**attempt)
                time.sleep(max(pause, error.seconds) if isinstance(error, _Later) else pause)

    def _read(self, remote: Remote, file: RemoteFile, found: list[bytes]) -> Iterator[int]:
        content = bytearray()
        with self._open(remote.url(file), {}) as response:
            _check_status(response, remote.url(file))
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > file.size:
                    break
        found.append(bytes(content))
        yield len(content)

    def _append(self, remote: Remote, file: RemoteFile, part: Path) -> Iterator[int]:
        """Add what is missing to what is here."""
        have = part.stat().st_size if part.exists() else 0
        if have > file.size:
            part.unlink()
            have = 0
        if have == file.size and part.exists():
            return
        url, told = remote.url(file), time.monotonic()
        with self._open(url, {"Range": f"bytes={have}-"} if have else {}) as response:
            _check_status(response, url)
            have = have if response.status_code == 206 else 0
            try:
                with part.open("r+b" if have else "wb") as out:
                    out.seek(have)
                    for chunk in response.iter_raw():
                        have += len(chunk)
                        if have > file.size:
                            raise _other(remote, file)
                        out.write(chunk)
                        if time.monotonic() - told > _EVERY:
                            told = time.monotonic()
                            yield have
                    out.flush()
                    os.fsync(out.fileno())
            except OSError as error:
                raise unwritable(part, error) from error
        if have < file.size:
            raise Unavailable(f"it ends after {have:,} of {file.size:,} bytes")
        yield have

    def _open(self, url: str, headers: dict[str, str]) -> _Opened:
        """Ask for a file, wherever the Hub says that it lies; the token stays at the Hub."""
        for _ in range(_REDIRECTS + 1):
            at_hub = origin(url) == self._hub.origin
            token = {"Authorization": f"Bearer {self._hub.token}"} if at_hub and self._hub.token else {}
            request = self._client.build_request("GET", url, headers={**headers, **token})
            response = self._client.send(request, stream=True)
            if not response.is_redirect:
                return _Opened(response)
            response.close()
            url = urljoin(url, response.headers.get("Location", ""))
            self._check_place(url)
        raise Denied(f"{url.partition('?')[0]} comes after more than {_REDIRECTS} redirects", hint="check HF_ENDPOINT")

    def _check_place(self, url: str) -> None:
        """Refuse a public Hub that leads into this network; one that is inside it was set by hand and may."""
        if origin(url) != self._hub.origin and not self._is_inside():
            egress.check(url)

    def _is_inside(self) -> bool:
        try:
            egress.check(self._hub.endpoint)
        except Invalid:
            return True
        return False


class _Later(Unavailable):
    """The Hub has said when it may be asked again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Opened:
    """An answer that is being read."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def __enter__(self) -> httpx.Response:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def matches(place: Path, *, sha256: str, oid: str) -> bool:
    """Whether a file is still the one that a digest names."""
    file = RemoteFile(path=place.name, size=place.stat().st_size, oid=oid, sha256=sha256)
    return _matches(file, place)


def _check_status(response: httpx.Response, url: str) -> None:
    if response.status_code in (408, 425, 429, 500, 502, 503, 504):
        raise _Later(f"it answers {response.status_code}", seconds_to_wait(response) or 0.0)
    if response.status_code not in (200, 206):
        raise refused(url, response)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise Denied(f"{url.partition('?')[0]} answers with a page for people", hint="a network that asks to sign in?")


def _show(folder: Path, remote: Remote, files: tuple[RemoteFile, ...]) -> None:
    """Make the files findable by path, and the branch by name, as every tool of Hugging Face finds them."""
    snapshot = folder / "snapshots" / remote.revision
    with writing(snapshot):
        for file in files:
            place = safe_join(snapshot, file.path) if not (snapshot / file.path).is_symlink() else snapshot / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            coming = place.with_name(f".{place.name}.coming")
            coming.unlink(missing_ok=True)
            coming.symlink_to(os.path.relpath(folder / "blobs" / file.etag, place.parent))
            coming.replace(place)
        if remote.asked != remote.revision:
            ref = safe_join(folder / "refs", remote.asked)
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(remote.revision)


def _part(blobs: Path, etag: str) -> Path:
    return blobs / f"{etag}.studiolo.incomplete"


def _matches(file: RemoteFile, place: Path) -> bool:
    if place.stat().st_size != file.size:
        return False
    with place.open("rb") as opened:
        if file.sha256:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == file.oid


def _digest(file: RemoteFile, content: bytes) -> str:
    if file.sha256:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _other(remote: Remote, file: RemoteFile) -> Denied:
    return Denied(
        f"{file.path} of {remote.repo} is not what the Hub says that it is: its size or digest differs",
        hint="nothing of it is kept; check HF_ENDPOINT and the proxy, and try again",
    )
