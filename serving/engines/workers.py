"""The processes behind a scoring engine: each answers one request at a time; one that dies or hangs is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.engines.scoring_spec import HERE, ScoringSpec
from workspace.errors import StudioloError, Unavailable

LARGEST = 64_000_000  # bytes of a frame
# What the code of a script or a model sees of our environment besides its own variables.
PASSED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT", "PYTHONUNBUFFERED", "TOKENIZERS_PARALLELISM",
)  # fmt: skip
_SIZES = struct.Struct(">II")

log = logging.getLogger(__name__)

Collect = Callable[[Mapping[str, Any], bytes], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the code behind sees it."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the code made of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Workers:
    """As many processes as the spec says; `about` is what the first of them told of what it loaded."""

    def __init__(self, spec: ScoringSpec, *, collect: Collect) -> None:
        self._spec = spec
        self._collect = collect
        self._free: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all: set[_Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self.about: Mapping[str, Any] = {}
        self.active = 0
        self.waiting = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self._spec.workers

    @property
    def patience(self) -> float:
        """How many seconds one may take over a request."""
        return self._spec.patience

    async def start(self) -> None:
        """Start them all and return when each has loaded; Unavailable with the words of one that could not."""
        started = await asyncio.gather(*(self._started() for _ in range(self._spec.workers)))
        self.about = started[0].about
        for worker in started:
            self._free.put_nowait(worker)

    async def ask(self, asked: Asked) -> Answered:
        """Answer by the next process that is free.

        A caller who leaves while waiting takes no process; one who leaves later lets the code come to its end.
        """
        self.waiting += 1
        try:
            worker = await self._free.get()
        finally:
            self.waiting -= 1
        self.active += 1
        work = asyncio.create_task(self._answered(worker, asked))
        work.add_done_callback(_noticed)
        return await asyncio.shield(work)

    def stop(self) -> None:
        """End them."""
        for task in self._starting:
            task.cancel()
        for worker in self._all:
            worker.kill()

    async def _answered(self, worker: _Worker, asked: Asked) -> Answered:
        try:
            async with asyncio.timeout(self._spec.patience):
                answered = await worker.ask(asked)
        except TimeoutError:
            self._replace(worker)
            raise Unavailable(f"the code took more than {self._spec.patience:g} s; its process is replaced") from None
        except StudioloError:
            self._replace(worker)
            raise
        finally:
            self.active -= 1
        self._free.put_nowait(worker)
        return answered

    def _replace(self, worker: _Worker) -> None:
        worker.kill()
        self._all.discard(worker)
        task = asyncio.create_task(self._again())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _again(self) -> None:
        wait = 0.0
        while True:
            try:
                self._free.put_nowait(await self._started())
            except StudioloError as error:
                log.error("%s", error)
                wait = min(30.0, wait * 2 + 0.5)
                await asyncio.sleep(wait)
            else:
                return

    async def _started(self) -> _Worker:
        worker = await _Worker.launch(self._spec, self._collect)
        self._all.add(worker)
        try:
            await worker.ready()
        except StudioloError:
            worker.kill()
            self._all.discard(worker)
            raise
        return worker


class _Worker:
    """One process and the channel to it."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        collect: Collect,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._collect = collect
        self.about: Mapping[str, Any] = {}

    @classmethod
    async def launch(cls, spec: ScoringSpec, collect: Collect) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [spec.python, str(HERE / "scoring_worker.py"), str(theirs.fileno())],
                cwd=spec.folder,
                env=_environment(spec),
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=LARGEST)
        worker = cls(process, reader, writer, collect)
        told = {"scorer": spec.scorer, "script": spec.script, "model": spec.model, "shims": str(HERE / "shims")}
        told["collected"] = ",".join((spec.collected or {}).get("collections", ()))
        await worker._send(told, b"")
        return worker

    async def ready(self) -> None:
        """Return when it has loaded; Unavailable with what it said if it cannot."""
        while True:
            header, body = await self._receive()
            if header["kind"] == "ready":
                self.about = header
                return
            if header["kind"] == "failed":
                raise Unavailable(f"the code cannot be loaded: {header['error']}")
            self._note(header, body)

    async def ask(self, asked: Asked) -> Answered:
        await self._send({"method": asked.method, "path": asked.path, "headers": dict(asked.headers)}, asked.body)
        while True:
            header, body = await self._receive()
            if header["kind"] == "answer":
                return Answered(header["status"], header["headers"], body)
            self._note(header, body)

    def kill(self) -> None:
        """End it at once and take its number out of the table of processes."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def _note(self, header: Mapping[str, Any], body: bytes) -> None:
        if header["kind"] == "collect":
            self._collect(header, body)

    async def _send(self, header: Mapping[str, Any], body: bytes) -> None:
        raw = json.dumps(header).encode()
        self._writer.write(_SIZES.pack(len(raw), len(body)) + raw + body)
        try:
            await self._writer.drain()
        except ConnectionError:
            raise self._died() from None

    async def _receive(self) -> tuple[dict[str, Any], bytes]:
        try:
            head, size = _SIZES.unpack(await self._reader.readexactly(_SIZES.size))
            header: dict[str, Any] = json.loads(await self._reader.readexactly(head))
            return header, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise self._died() from None

    def _died(self) -> Unavailable:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        return Unavailable(f"the process of the code ended (exit code {code}); another is started")


def _noticed(work: asyncio.Task[Answered]) -> None:
    if not work.cancelled():
        work.exception()  # nobody may be left to hear of it


def _environment(spec: ScoringSpec) -> dict[str, str]:
    own = {
        "AZUREML_MODEL_DIR": spec.model_dir,
        "AZUREML_ENTRY_SCRIPT": spec.script,
        "AML_APP_ROOT": spec.folder,
        "AML_DEPLOYMENT_NAME": spec.deployment,
        "WORKER_COUNT": str(spec.workers),
    }
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | dict(spec.variables) | {key: value for key, value in own.items() if value}
