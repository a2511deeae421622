"""How the files of an attempt reach a Ray cluster and come back: through a file system that both see, or over HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from jobs.folders import AttemptFolder, read_record
from jobs.ray import entry
from jobs.ray.api import Head
from workspace.errors import Invalid, StudioloError, Unavailable
from workspace.paths import writing

LARGEST = 400_000_000  # bytes that Ray takes for one job
LOG, EXIT, CLAIM, STOP = "ray.log", "ray.exit.json", "ray.claim", "ray.stop"
ENTRY = "ray.entry.json"  # what `entry.py` is told
LAUNCH = "launch.json"  # what the launcher of several processes is told
SENT = ("code", "inputs", "finished", "launch.py", LAUNCH, "train.py")  # of the attempt's folder
_CHUNK = 1 << 16
_AGAIN = 0.5  # seconds between two tries to follow


class Files(Protocol):
    """What an attempt reads and leaves, wherever it runs."""

    runtime_env: Mapping[str, Any]

    def send(self, plan: Mapping[str, Any]) -> None:
        """Bring there what the attempt reads."""

    def skip(self, count: int) -> None:
        """Leave out as many bytes of what it says."""

    def at(self, node: str) -> None:
        """Learn on which node it runs."""

    def said(self) -> Iterator[bytes]:
        """Yield what it has said since."""

    def ended(self) -> dict[str, Any] | None:
        """Return how it ended, once all that it leaves is here."""

    def stop(self) -> bool:
        """Ask it to end by a file; return False where it has not begun and never will."""


class SharedFiles:
    """Files that both sides see at the same paths."""

    def __init__(self, folder: AttemptFolder) -> None:
        self._folder = folder
        self._offset = 0
        self.runtime_env: Mapping[str, Any] = {}

    def send(self, plan: Mapping[str, Any]) -> None:
        """Nothing has to be brought."""

    def skip(self, count: int) -> None:
        self._offset = count

    def at(self, node: str) -> None:
        """It does not matter."""

    def said(self) -> Iterator[bytes]:
        try:
            with (self._folder.path / LOG).open("rb") as file:
                file.seek(self._offset)
                while chunk := file.read(_CHUNK):
                    self._offset += len(chunk)
                    yield chunk
        except FileNotFoundError:
            return  # it has not begun

    def ended(self) -> dict[str, Any] | None:
        return read_record(self._folder.path / EXIT)

    def stop(self) -> bool:
        (self._folder.path / STOP).touch(mode=0o600)
        return (self._folder.path / CLAIM).exists()


class RemoteFiles:
    """Files that are uploaded with the job; what it leaves lies under the logs of its node, and is fetched."""

    def __init__(self, folder: AttemptFolder, head: Head, name: str) -> None:
        self._folder = folder
        self._head = head
        self._name = name
        self._node = ""
        self._told = 0  # bytes of the log that were said
        self._heard: SimpleQueue[tuple[int, bytes]] = SimpleQueue()  # where they start, and they
        self._whole: bytes | None = None  # the log, once it is complete
        self._asked_at = 0.0
        self.runtime_env: Mapping[str, Any] = {}

    def send(self, plan: Mapping[str, Any]) -> None:
        content = self._packed()
        package = f"_ray_pkg_{hashlib.sha256(content).hexdigest()[:16]}.zip"
        if not self._head.has(package):
            self._head.upload(package, content)
        pip = {"pip": list(plan["packages"])} if plan["packages"] else {}
        self.runtime_env = {"working_dir": f"gcs://{package}", **pip}

    def skip(self, count: int) -> None:
        self._told = count

    def at(self, node: str) -> None:
        if not self._node:
            self._node = node
            threading.Thread(target=self._follow, daemon=True).start()

    def said(self) -> Iterator[bytes]:
        while True:
            try:
                start, chunk = (self._told, self._whole[self._told :]) if self._whole else self._heard.get_nowait()
            except Empty:
                return
            if new := chunk[max(0, self._told - start) :]:
                self._told = start + len(chunk)
                yield new
            elif self._whole:
                return

    def ended(self) -> dict[str, Any] | None:
        now = time.monotonic()
        if not self._node or now - self._asked_at < _AGAIN:
            return None
        self._asked_at = now
        try:
            record = self._head.read(self._node, f"{self._name}.exit")
            if record is None:
                return None
            refused = self._bring_back()
            self._whole = self._head.read(self._node, f"{self._name}.log")
        except Unavailable:
            return None  # asked again
        found: dict[str, Any] = json.loads(record)
        return found if refused is None else found | {"ending": "Refused", "error": refused}

    def stop(self) -> bool:
        return True

    def _follow(self) -> None:
        """Hear the log as it grows, from its beginning again where we were cut off."""
        while self._whole is None:
            start = 0
            try:
                for chunk in self._head.follow(self._node, f"{self._name}.log"):
                    self._heard.put((start, chunk))
                    start += len(chunk)
            except StudioloError:
                pass  # it is not there yet, or the head does not answer: the conductor notices
            time.sleep(_AGAIN)

    def _bring_back(self) -> str | None:
        """Unpack what the attempt has left; return why that cannot be, where the same would come again."""
        archive = self._head.read(self._node, f"{self._name}.archive")
        if archive is None:
            raise Unavailable("the outputs are not there yet")
        with writing(self._folder.path), tarfile.open(fileobj=io.BytesIO(archive)) as found:
            try:
                found.extractall(self._folder.path, filter="data")
            except tarfile.FilterError as problem:  # a link that leads out of its folder
                return f"its outputs cannot be brought back: {problem}"
        return None

    def _packed(self) -> bytes:
        """Return what the attempt reads as a zip file; the folder that it lay in is another one there."""
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(entry.__file__, "entry.py")
            archive.write(self._folder.path / ENTRY, ENTRY)
            for name in SENT:
                place = self._folder.path / name
                for path in [place] if place.is_file() else sorted(place.rglob("*")):
                    archive.write(path, path.relative_to(self._folder.path))
                    if memory.tell() > LARGEST:
                        raise Invalid(
                            f"code and inputs are more than {LARGEST // 10**6} MB, which Ray does not take",
                            hint="put them where both sides see them, and add ?files=shared to the address",
                        )
        return memory.getvalue()
